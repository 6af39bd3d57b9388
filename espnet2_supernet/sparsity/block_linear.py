"""Training through block masks at the cost of the kept blocks, on a CPU.

The gradient of a masked layer reaches kept weights only, so all three products of its training
step skip the zeros (``espnet2_supernet.runtime.training.block_products``). Off until
:func:`use_block_kernels`; where the kernels do not apply or do not pay, nothing changes.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.sparsity.pattern import Block, Pattern

GROUP = 16  # rows of a block, and what the number of columns has to be a multiple of
# Measured on a Zen 5 EPYC against oneDNN (tests/benchmarks/bench_sparse_training.py).
MAX_DENSITY = 0.75  # above, the kernels gain less than a tenth
MIN_ROWS = 64  # with as few, calling them costs a small layer what they gain

_enabled = False


def use_block_kernels(enabled: bool) -> bool:
    """Let masked layers of this process use the block-sparse kernels, or not (the default).

    Returns:
        What was chosen before.
    """
    global _enabled
    before, _enabled = _enabled, enabled
    return before


class BlockIndices:
    """Indices of the masks of one layer, made again when a mask has changed.

    A change is noticed by the identity and the version of the tensor: write masks as torch
    operations on the tensor itself, not through ``.data`` or numpy. Copies start empty.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Tensor, int, Any]] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Copy and pickle as an empty one."""
        return BlockIndices, ()

    def get(self, name: str, mask: Tensor) -> Any:
        """Return the ``BlockIndex`` of a mask, or ``None`` if it is no use.

        Args:
            name: Name of the mask.
            mask: bool (out, in), both multiples of 16.
        """
        known, version, index = self._known.get(name, (None, 0, None))
        if known is not mask or version != mask._version:
            index = _build(mask)
            self._known[name] = (mask, mask._version, index)
        return index


def applies(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, pattern: Pattern) -> bool:
    """Whether the kernels can compute this layer, whatever its mask keeps.

    They need float32 on a CPU, blocks of 16 rows and sizes that are multiples of 16. Not under
    autocast, and not while a graph is traced: the kernels would not be in it.
    """
    if not _enabled or not isinstance(pattern, Block) or pattern.rows % GROUP or _is_traced(x):
        return False
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
        and all(one.layout == torch.strided for one in tensors)
        and type(x) is Tensor
        and weight.is_contiguous()
        and not mask.is_inference()
        and not any(size % GROUP for size in weight.shape)
        and x.shape[-1] == weight.shape[1]
        and x.numel() >= MIN_ROWS * weight.shape[1]
        and not torch.is_autocast_enabled("cpu")
        and _products() is not None
    )


def block_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, index: Any
) -> Tensor:
    """Apply ``x (W*m)^T + b`` by its kept blocks; differentiable, also twice.

    Args:
        x: Input (..., in_features), float32.
        weight: Weight (out_features, in_features).
        bias: Bias (out_features,), or ``None``.
        mask: Mask, bool, of the shape of the weight.
        index: Its index, from :class:`BlockIndices`.

    Returns:
        Output (..., out_features). It and the gradients equal those of the dense masked product
        within float32 rounding, and are the same in every run.
    """
    return _BlockLinear.apply(x, weight, bias, mask, index)


class _BlockLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor, index: Any
    ) -> Tensor:
        products = _products()
        ctx.save_for_backward(x, weight, mask)
        ctx.index, ctx.packed = index, products.pack(index, weight.detach().numpy())
        out = x.new_empty(*x.shape[:-1], index.outs)
        offset = weight.new_zeros(index.outs) if bias is None else bias.detach().contiguous()
        products.forward(
            index, ctx.packed, _rows(x), offset.numpy(), _rows(out), torch.get_num_threads()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        if torch.is_grad_enabled():  # this backward is to be differentiated itself
            return _differentiable_backward(ctx, grad)
        x, weight, _ = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        products, threads, rows = _products(), torch.get_num_threads(), _rows(grad)
        by_x = by_weight = by_bias = None
        if to_x:
            by_x = torch.empty_like(x, memory_format=torch.contiguous_format)
            products.input_gradient(ctx.index, ctx.packed, rows, _rows(by_x), threads)
        if to_weight or to_bias:
            by_weight, by_bias = torch.empty_like(weight), weight.new_empty(weight.shape[0])
            products.weight_gradient(
                ctx.index, _rows(x), rows, by_weight.numpy(), by_bias.numpy(), threads
            )
        return by_x, by_weight if to_weight else None, by_bias if to_bias else None, None, None


def _differentiable_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The same gradients by dense products that autograd knows."""
    x, weight, mask = ctx.saved_tensors
    to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
    kept, rows = mask.view(torch.uint8), grad.flatten(0, -2)
    return (
        grad @ (weight * kept) if to_x else None,
        rows.t() @ x.flatten(0, -2) * kept if to_weight else None,
        rows.sum(0) if to_bias else None,
        None,
        None,
    )


def _rows(x: Tensor) -> Any:
    """Numpy view (M, D), of a copy if ``x`` is not contiguous."""
    return x.detach().contiguous().view(-1, x.shape[-1]).numpy()


def _build(mask: Tensor) -> Any:
    """Index of a mask, or ``None`` if it is too dense or not made of whole blocks."""
    blocks = mask.unflatten(0, (-1, GROUP))
    keep = blocks[:, 0]
    if keep.float().mean() > MAX_DENSITY or not torch.equal(
        blocks, keep[:, None].expand_as(blocks)
    ):
        return None
    products = _products()
    return products.BlockIndex.build(keep.numpy())


def _is_traced(x: Tensor) -> bool:
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
    )


@functools.lru_cache(maxsize=1)
def _products() -> Any:
    """The kernels, or ``None`` without numba or the vector instructions they need."""
    try:  # imported when first needed: numba takes a second
        from espnet2_supernet.runtime.training import block_products
    except ImportError:
        return None
    module: ModuleType = block_products
    return module if block_products.supported() else None
