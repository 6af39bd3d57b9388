"""Rotary position embedding (Su et al., arXiv 2104.09864).

Attention then depends on the distance between frames alone. Angles are computed in float64, so
that this holds hours into a stream, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rotary_tables(
    positions: Tensor, heads: int, dim: int, pairs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the angles of some positions.

    Args:
        positions: Whole numbers of any shape.
        heads: H.
        dim: Size d of a head, even.
        pairs: Which of its d / 2 pairs there are, int64 ``(d_k / 2,)``; all when None, d_k = d.

    Returns:
        Cosines, and sines with the sign that :func:`rotate` needs, ``(*positions.shape, H * d_k)``
        in float32.
    """
    steps = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float64)
    if pairs is not None:
        steps = steps[pairs]
    angles = positions[..., None].double() * 10000.0 ** -(steps / dim)
    cos, sin = angles.cos().float(), angles.sin().float()
    return (
        torch.cat([cos, cos] * heads, dim=-1),
        torch.cat([-sin, sin] * heads, dim=-1),
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """Rotate queries or keys by the angles of their positions.

    Number i of the first half of a head and number i of its second half are a point of a plane.

    Args:
        x: ``(..., H * d)``.
        cos: ``(..., H * d)``, see :func:`rotary_tables`.
        sin: The same.
        heads: H.

    Returns:
        ``(..., H * d)``, of the type of ``x``.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    if torch.is_grad_enabled() and x.requires_grad:
        rotated: Tensor = _Rotate.apply(x, cos, sin, heads)
        return rotated
    return _rotate(x, cos, sin, heads)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.heads = heads
        return _rotate(x, cos, sin, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grad, cos, -sin, ctx.heads), None, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    halves = x.unflatten(-1, (heads, -1))
    swapped = halves.roll(halves.size(-1) // 2, dims=-1).flatten(-2)
    return (x * cos).addcmul_(swapped, sin)
