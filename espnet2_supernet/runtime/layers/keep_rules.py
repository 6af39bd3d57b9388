"""The token-keep rules without torch: ``damon/rules.py`` over frames as they come.

The first frame of a stream is always kept. Every decision depends on the past only, and is that of
the trained model but for scores within rounding of the threshold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.keep_rule import KeepRule
from espnet2_supernet.runtime.layers.detector import SaladDetector

Array = np.ndarray


@dataclass
class RuleState:
    """What a rule remembers of a stream; its size does not grow.

    Attributes:
        detector: State of the detector, if there is one.
        num_past: Frames so far.
        carried: Sum (D,) of the frames dropped since the last kept one, if they are merged.
        num_carried: How many these are.
    """

    detector: list[Array]
    num_past: int = 0
    carried: Array | None = None
    num_carried: int = 0


class FrameRule(ABC):
    """Decides about frames in their order.

    Args:
        declared: Its declaration.
    """

    threshold: float

    def __init__(self, declared: KeepRule) -> None:
        self.declared = declared

    def init_state(self) -> RuleState:
        """State before the first frame."""
        return RuleState([])

    @abstractmethod
    def scores(self, frames: Array, feats: Array, state: RuleState) -> Array:
        """Score the next frames; changes what ``state`` knows of the detector.

        Args:
            frames: Subsampled frames ``(n, D)``, n at least 1.
            feats: The features they were made of ``(n * factor, F)``.
            state: State of the stream.

        Returns:
            Scores ``(n,)``, larger = keep.
        """

    def decide(self, frames: Array, feats: Array, state: RuleState) -> tuple[Array, Array]:
        """Decide about the next frames.

        Args:
            frames: Subsampled frames ``(n, D)``, n at least 1; changed where they are merged.
            feats: The features they were made of ``(n * factor, F)``.
            state: State of the stream, changed in place.

        Returns:
            Which frames to keep, bool ``(n,)``, and the frames as the blocks shall see them
            ``(n, D)``.
        """
        scores = self.scores(frames, feats, state)
        keep = scores >= np.float32(self.threshold)
        if state.num_past == 0:
            keep[0] = True
        state.num_past += len(frames)
        if self.declared.merge == "mean":
            _merge_dropped(frames, keep, state)
        return keep, frames


class Salad(FrameRule):
    """Keeps what the detector calls salient; compares log-odds.

    Args:
        declared: Its declaration.
        weights: Weights of the detector.
    """

    def __init__(self, declared: KeepRule, weights: Mapping[str, Array]) -> None:
        super().__init__(declared)
        assert declared.threshold is not None
        self.threshold = float(np.log(declared.threshold) - np.log1p(-declared.threshold))
        self._detector = SaladDetector(weights)

    def init_state(self) -> RuleState:
        """State before the first frame."""
        return RuleState(self._detector.init_state())

    def scores(self, frames: Array, feats: Array, state: RuleState) -> Array:
        """Log-odds of the detector ``(n,)``."""
        found, state.detector = self._detector(frames, state.detector)
        return found


class Energy(FrameRule):
    """Keeps loud frames: the mean over the features that a frame was made of."""

    def __init__(self, declared: KeepRule) -> None:
        super().__init__(declared)
        assert declared.threshold is not None
        self.threshold = declared.threshold

    def scores(self, frames: Array, feats: Array, state: RuleState) -> Array:
        """Mean of the features of each frame ``(n,)``."""
        means: Array = feats.reshape(len(frames), -1).mean(1, dtype=np.float64)
        return means.astype(np.float32)


class Random(FrameRule):
    """Keeps frames by chance: a draw depends on seed and place only, that of training."""

    def __init__(self, declared: KeepRule) -> None:
        super().__init__(declared)
        assert declared.keep_ratio is not None
        self.threshold = 1.0 - declared.keep_ratio

    def scores(self, frames: Array, feats: Array, state: RuleState) -> Array:
        """Draws in [0, 1) ``(n,)``: splitmix, its constants in 31 bits, as in ``damon``."""
        steps = np.arange(len(frames), dtype=np.int64) + state.num_past
        x: Array = (steps + 1) * 1_640_531_527 + (self.declared.seed + 1) * 1_013_904_223
        for shift, factor in ((16, 73_244_475), (15, 739_982_445)):
            x = ((x ^ (x >> shift)) * factor) & 0x7FFFFFFF
        return ((x ^ (x >> 16)) / 2.0**31).astype(np.float32)


class Downsample(FrameRule):
    """Keeps one frame of ``factor``, the first."""

    threshold = 1.0

    def scores(self, frames: Array, feats: Array, state: RuleState) -> Array:
        """1 for a kept frame, 0 for another ``(n,)``."""
        steps = np.arange(len(frames), dtype=np.int64) + state.num_past
        return (steps % self.declared.factor == 0).astype(np.float32)


def make_rule(declared: KeepRule, detector: Mapping[str, Array]) -> FrameRule:
    """Make a rule.

    Args:
        declared: Its declaration.
        detector: Weights of the detector (``salad``).

    Raises:
        KeyError: If weights are missing.
        ValueError: If weights do not fit.
    """
    if declared.kind == "salad":
        return Salad(declared, detector)
    kinds: dict[str, Any] = {"energy": Energy, "random": Random, "downsample": Downsample}
    rule: FrameRule = kinds[declared.kind](declared)
    return rule


def _merge_dropped(frames: Array, keep: Array, state: RuleState) -> None:
    """Turn kept frames into means with the dropped ones directly before them, in place."""
    total, count = state.carried, state.num_carried
    for number, frame in enumerate(frames):
        total = frame.copy() if total is None else total + frame
        count += 1
        if keep[number]:
            frames[number] = total / np.float32(count)
            total, count = None, 0
    state.carried, state.num_carried = total, count
