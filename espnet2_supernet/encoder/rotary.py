"""Rotary position embedding (Su et al., arXiv 2104.09864).

Attention then depends on the distance between frames alone, and positions can be counted from
the left edge of a chunk's window: no number grows with the length of the stream.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_tables(length: int, dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the angles of the first positions.

    Args:
        length: Positions, counted from 0.
        dim: Size of a head, even.
        like: A tensor on the device wanted.

    Returns:
        Cosines and sines ``(length, dim / 2)``, in float32.
    """
    rates = 10000.0 ** -(torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) / dim)
    angles = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys by the angles of their positions.

    Args:
        x: ``(..., T, dim)``.
        cos: Cosines ``(T, dim / 2)``, see :func:`rotary_tables`.
        sin: Sines ``(T, dim / 2)``.

    Returns:
        ``(..., T, dim)``, of the type of ``x``.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
