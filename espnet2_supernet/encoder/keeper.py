"""What decides which frames the blocks see."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class FrameKeeper(Protocol):
    """Decides about frames in their order, each from what was heard until it.

    Attributes:
        compacted: Positions count kept frames only; else they are those in the utterance.
        before_block: Frames are dropped before this one, from 1, of the blocks that run.
        restore_before_block: They come back before this one; None if they do not.
        with_change: They do so with what changed in the last kept frame before them.
    """

    compacted: bool
    before_block: int
    restore_before_block: int | None
    with_change: bool

    def init_state(self, batch_size: int) -> Any:
        """Return the state before the first frame."""
        ...

    def decide(self, frames: Tensor, feats: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        """Decide about the next frames.

        Args:
            frames: Subsampled frames ``(B, n, D)``.
            feats: The features they were made of ``(B, n * factor, F)``.
            state: Result of :meth:`init_state` or of the last call; it is not changed.

        Returns:
            Which frames to keep ``(B, n)``, True = keep, the frames as the blocks shall see them
            ``(B, n, D)``, and the next state.
        """
        ...


def kept_times(keep: Tensor) -> Tensor:
    """Where kept frames were.

    Args:
        keep: Which frames of each utterance are kept ``(B, T)``.

    Returns:
        Numbers ``(B, T')`` of the kept frames of each utterance, T' the most of one; those beyond
        what an utterance keeps have no meaning.
    """
    order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, : int(keep.sum(1).max())]
