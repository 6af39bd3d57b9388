"""Which frames the blocks see: the token-keep rule of a bundle that drops frames."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

KINDS = ("salad", "energy", "random", "downsample")


@dataclass(frozen=True)
class KeepRule:
    """A token-keep rule; keys and values are those of ``tokens`` in a training configuration.

    Attributes:
        kind: ``salad`` (a trained detector, among the weights), ``energy`` (loud frames),
            ``random`` or ``downsample`` (one frame of so many).
        threshold: Frames of at least this score are kept: a probability (``salad``) or the mean of
            the normalised features (``energy``).
        keep_ratio: Fraction of the frames that is kept (``random``).
        positions: ``original``, the frames' places in the stream, or ``compacted``, counting kept
            frames only.
        merge: What a kept frame takes with it: ``none``, or ``mean``, the mean of itself and of the
            dropped frames directly before it.
        factor: One frame of so many is kept (``downsample``).
        seed: Of the draws (``random``).
        before_block: Frames are dropped before this one of the blocks, from 1.
        restore_before_block: They come back before this one; None: never.
        restored: How they come back: ``unchanged``, or ``last_change``, plus what changed in the
            last kept frame before them, if their chunk has one.

    Raises:
        ValueError: If a value is impossible.
    """

    kind: str
    threshold: float | None = None
    keep_ratio: float | None = None
    positions: str = "original"
    merge: str = "none"
    factor: int = 2
    seed: int = 0
    before_block: int = 1
    restore_before_block: int | None = None
    restored: str = "unchanged"

    def __post_init__(self) -> None:
        """Check the values."""
        _check(self.kind in KINDS, "kind", self.kind, f"one of {', '.join(KINDS)}")
        _check(self.positions in ("original", "compacted"), "positions", self.positions)
        _check(self.merge in ("none", "mean"), "merge", self.merge)
        _check(self.factor >= 2, "factor", self.factor, "a whole number from 2")
        _check(self.seed >= 0, "seed", self.seed, "a whole number from 0")
        _check(self.before_block >= 1, "before_block", self.before_block, "a whole number from 1")
        back = self.restore_before_block
        wanted = f"a whole number above {self.before_block}"
        _check(back is None or back > self.before_block, "restore_before_block", back, wanted)
        _check(self.restored in ("unchanged", "last_change"), "restored", self.restored)
        nothing = self.restored != "unchanged" and back is None
        _check(not nothing, "restored", self.restored, "'unchanged' where no frame comes back")
        merges_later = self.merge != "none" and (self.before_block > 1 or back is not None)
        _check(not merges_later, "merge", self.merge, "'none' with other blocks than the first")
        if self.kind == "random":
            ratio = self.keep_ratio
            _check(ratio is not None and 0 < ratio <= 1, "keep_ratio", ratio, "a fraction")
        if self.kind == "energy":
            _check(_is_finite(self.threshold), "threshold", self.threshold, "a number")
        if self.kind == "salad":
            found = self.threshold
            _check(found is not None and 0 < found < 1, "threshold", found, "a probability")


def _is_finite(number: float | None) -> bool:
    return number is not None and isfinite(number)


def _check(good: bool, key: str, value: object, wanted: str = "another value") -> None:
    if not good:
        raise ValueError(f"keep_rule.{key}: wanted {wanted}, got {value!r}")
