"""A token-keep rule: what every rule has in common.

The first frame of an utterance is always kept (it starts a run), so that none keeps nothing. A
score that is compared with a threshold depends on the past only: the same frames are kept in a
stream as in a whole utterance, but for scores within rounding of the threshold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.damon.feasibility import at_least, best_frames
from espnet2_supernet.damon.merging import Carried, merge_dropped
from espnet2_supernet.supernet.tokens import TokenSpec


@dataclass(frozen=True)
class RuleState:
    """What a rule remembers of a stream.

    Attributes:
        num_past: Frames so far.
        detector: State of the detector, if there is one.
        carried: Frames dropped since the last kept one, if they are merged.
    """

    num_past: int = 0
    detector: Tensor | None = None
    carried: Carried | None = None


class KeepRule(ABC):
    """Keeps frames by score; a ``FrameKeeper`` of the encoder.

    Args:
        spec: Its declaration.
    """

    def __init__(self, spec: TokenSpec) -> None:
        self.spec = spec
        self.compacted = spec.positions == "compacted"
        self.before_block = spec.before_block
        self.restore_before_block = spec.restore_before_block
        self.with_change = spec.restored == "last_change"

    @property
    def restores(self) -> bool:
        """Whether dropped frames come back, so that the encoder returns all of them."""
        return self.restore_before_block is not None

    @property
    def threshold(self) -> float:
        """Frames of at least this score are kept."""
        assert self.spec.threshold is not None
        return self.spec.threshold

    def init_state(self, batch_size: int) -> RuleState:
        """Return the state before the first frame."""
        return RuleState()

    @abstractmethod
    def scores(self, frames: Tensor, feats: Tensor, state: RuleState) -> tuple[Tensor, Any]:
        """Score the next frames.

        Args:
            frames: Subsampled frames ``(B, n, D)``.
            feats: The features they were made of ``(B, n * factor, F)``.
            state: Result of :meth:`init_state` or of the last call.

        Returns:
            Scores ``(B, n)``, larger = keep, and what replaces ``state.detector``.
        """

    def decide(
        self, frames: Tensor, feats: Tensor, state: RuleState
    ) -> tuple[Tensor, Tensor, RuleState]:
        """Decide about the next frames of a stream; see ``FrameKeeper``."""
        scores, detector = self.scores(frames, feats, state)
        keep = scores >= self.threshold
        if state.num_past == 0:
            keep[:, :1] = True
        num_past = state.num_past + frames.size(1)
        frames, carried = self.combine(frames, keep, state.carried)
        return keep, frames, RuleState(num_past, detector, carried)

    def combine(
        self, frames: Tensor, keep: Tensor, carried: Carried | None = None
    ) -> tuple[Tensor, Carried | None]:
        """Let kept frames take the dropped ones with them, if the rule says so.

        Args:
            frames: ``(B, n, D)``.
            keep: Which of them are kept ``(B, n)``.
            carried: Result of the last call; None before the first frame.

        Returns:
            The frames as the blocks shall see them ``(B, n, D)``, and what the next call needs.
        """
        return merge_dropped(frames, keep, carried) if self.spec.merge == "mean" else (frames, None)

    @torch.no_grad()
    def choose(
        self, frames: Tensor, feats: Tensor, lengths: Tensor, needed: Tensor | None = None
    ) -> Tensor:
        """Decide about whole utterances.

        Args:
            frames: Subsampled frames ``(B, T, D)``.
            feats: The features they were made of ``(B, T * factor, F)``.
            lengths: Frames of each utterance ``(B,)``.
            needed: Frames to keep at least, by score ``(B,)``; for training, where CTC must have
                a path.

        Returns:
            Which frames to keep ``(B, T)``, none beyond a length.
        """
        scores, _ = self.scores(frames, feats, self.init_state(len(frames)))
        scores[:, :1] = torch.inf
        if self.spec.sees_utterance:
            keep = best_frames(scores, lengths, self._quota(lengths))
        else:
            steps = torch.arange(frames.size(1), device=frames.device)
            keep = (scores >= self.threshold) & (steps < lengths[:, None])
        return keep if needed is None else at_least(keep, scores, lengths, needed)

    def _quota(self, lengths: Tensor) -> Tensor:
        """Frames to keep of utterances of so many ``(B,)``, rounded up."""
        assert self.spec.keep_ratio is not None
        exact = lengths.double() * self.spec.keep_ratio
        return (exact - 1e-6).ceil().long()  # 0.3 of 50 is no more than 15
