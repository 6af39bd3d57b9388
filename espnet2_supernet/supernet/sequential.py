"""Joint loss over several subnets with the graph of only one alive at a time.

Source: our choice. ``loss.backward()`` after each pass would need a trainer that knows of
it and ``no_sync`` under DistributedDataParallel. Here forward itself runs each pass and
differentiates it, and backward hands out the stored gradients: for the trainer, DDP,
accumulation and clipping it is one loss like any other, and DDP's hooks see each
parameter once. It costs one set of gradients (the size of the trainable parameters) and
saves the activations of all passes but one. Nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from espnet2_supernet.errors import ConfigError


def sequential_backward(
    passes: Sequence[Callable[..., Tensor]],
    shared: tuple[Tensor, ...],
    parameters: Iterable[nn.Parameter],
) -> Tensor:
    """Sum of the losses of all passes, with their gradients already computed.

    The gradient equals that of ``sum(p(*shared) for p in passes)``. Under
    ``torch.no_grad()`` the passes just run.

    Args:
        passes: Each is called once, in order, as ``p(*shared)`` and returns a scalar, its
            weight included. Statistics leave a pass detached, by side effect.
        shared: Tensors that all passes read. Anything outside the passes that carries a
            gradient must come this way: a pass sees them detached, and their gradients
            flow on from here.
        parameters: Parameters read inside the passes; frozen ones are skipped. A
            parameter missing here gets no gradient from the passes. One that no pass
            reads is fine and keeps ``grad=None``.

    Returns:
        Total loss, a scalar. Second derivatives are not available.

    Raises:
        ConfigError: Under float16 autocast. Gradients are taken before the trainer's loss
            scale is applied, so they would underflow.
        ValueError: If there is no pass, or a pass returns no scalar.
    """
    if not passes:
        raise ValueError("sequential_backward needs at least one pass")
    if not torch.is_grad_enabled():
        return torch.stack([_run(one, shared) for one in passes]).sum()
    wanted = [p for p in parameters if p.requires_grad]
    _refuse_float16((*shared, *wanted))
    return _SequentialBackward.apply(list(passes), len(shared), *shared, *wanted)


class _SequentialBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, passes: list[Callable[..., Tensor]], n_shared: int, *tensors: Tensor
    ) -> Tensor:
        needed = ctx.needs_input_grad[2:]
        shared = tuple(
            x.detach().requires_grad_(need)
            for x, need in zip(tensors[:n_shared], needed, strict=False)
        )
        sources = (*shared, *tensors[n_shared:])
        leaves = [x for x, need in zip(sources, needed, strict=True) if need]
        grads: list[Tensor | None] = [None] * len(leaves)
        losses = []
        for one in passes:
            # A cast cached by autocast belongs to the graph of the pass that made it.
            torch.clear_autocast_cache()
            with torch.enable_grad():
                loss = _run(one, shared)
            losses.append(loss.detach())
            if leaves and loss.requires_grad:
                _accumulate(grads, torch.autograd.grad(loss, leaves, allow_unused=True))
            del loss
        torch.clear_autocast_cache()
        ctx.needed = needed
        ctx.save_for_backward(*grads)
        return torch.stack(losses).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        grads = (next(saved) if need else None for need in ctx.needed)
        return None, None, *(None if g is None else g * grad_output.to(g.dtype) for g in grads)


def _run(one: Callable[..., Tensor], shared: tuple[Tensor, ...]) -> Tensor:
    loss = one(*shared)
    if loss.dim() != 0:
        raise ValueError(f"a pass must return a scalar, got shape {tuple(loss.shape)}")
    return loss


def _accumulate(grads: list[Tensor | None], new: tuple[Tensor | None, ...]) -> None:
    """Add ``new`` to ``grads``; out of place, since autograd may return shared memory."""
    for i, grad in enumerate(new):
        old = grads[i]
        if grad is not None:
            grads[i] = grad if old is None else old + grad


def _refuse_float16(tensors: tuple[Tensor, ...]) -> None:
    for kind in sorted({x.device.type for x in tensors}):
        if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16:
            raise ConfigError(
                "supernet_conf.sequential_backward takes gradients before the loss scale of "
                "float16 autocast is applied, so they would underflow: use bfloat16 "
                "autocast, no autocast, or sequential_backward: false"
            )
