"""Dropped frames that are not lost: the next kept frame takes them with it.

S6-DAMON's reviews tell of tokens that are dropped, one also of tokens that are merged. A kept frame
may become the mean of itself and of the dropped frames directly before it: nothing later is
needed, so that a stream does the same, and the blocks compute no frame more. Our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Carried:
    """The frames dropped since the last kept one.

    Attributes:
        total: Their sum ``(B, D)``.
        count: Their number ``(B,)``.
    """

    total: Tensor
    count: Tensor


def merge_dropped(
    frames: Tensor, keep: Tensor, carried: Carried | None = None
) -> tuple[Tensor, Carried]:
    """Turn kept frames into means with the dropped ones before them.

    Args:
        frames: The next frames ``(B, n, D)``.
        keep: Which of them are kept ``(B, n)``.
        carried: Result of the last call; nothing when None.

    Returns:
        Frames ``(B, n, D)``, those dropped unchanged, and what the next call needs.

    Example:
        >>> frames = torch.tensor([2.0, 4.0, 6.0, 8.0]).view(1, 4, 1)
        >>> merged, rest = merge_dropped(frames, torch.tensor([[True, False, True, False]]))
        >>> merged.flatten().tolist(), rest.total.item()
        ([2.0, 4.0, 5.0, 8.0], 8.0)
    """
    # Frames of one mean have one number: that of the kept frame that ends them.
    ends = keep.cumsum(1)
    group = ends - keep.long()
    totals = frames.new_zeros(len(frames), frames.size(1) + 1, frames.size(2))
    counts = frames.new_zeros(totals.shape[:2])
    if carried is not None:
        totals[:, 0], counts[:, 0] = carried.total, carried.count
    totals = totals.scatter_add(1, group[..., None].expand_as(frames), frames)
    counts = counts.scatter_add(1, group, torch.ones_like(frames[..., 0]))
    means = totals / counts.clamp(min=1)[..., None]
    merged = torch.where(
        keep[..., None], means.gather(1, group[..., None].expand_as(frames)), frames
    )
    last = keep.sum(1, keepdim=True)
    left = totals.gather(1, last[..., None].expand(-1, -1, frames.size(2)))
    return merged, Carried(left[:, 0], counts.gather(1, last)[:, 0])
