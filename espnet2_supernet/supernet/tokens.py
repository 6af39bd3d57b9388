"""Which frames a subnet computes: the declaration of its token-keep rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys, is_number

_BLOCKS = ("before_block", "restore_before_block", "restored")
# What each kind may be told besides its kind and its positions
_KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "salad": ("threshold", "keep_ratio", "merge", *_BLOCKS),
    "energy": ("threshold", "keep_ratio", "merge", *_BLOCKS),
    "random": ("keep_ratio", "seed", "merge", *_BLOCKS),
    "downsample": ("factor", "merge", *_BLOCKS),
}
_SHARED = ("kind", "positions")
_CHOICES = {
    "positions": ("original", "compacted"),
    "merge": ("none", "mean"),
    "restored": ("unchanged", "last_change"),
}


@dataclass(frozen=True)
class TokenSpec:
    """The declaration of a token-keep rule; a token is a subsampled frame.

    Attributes:
        kind: ``salad`` (a trained detector), ``energy`` (loud frames), ``random``, ``downsample``
            (every so many frames) or ``none`` (all frames).
        threshold: Frames of at least this score are kept; for ``salad`` a probability, and None
            is the threshold that its detector was given; for ``energy`` the mean of the
            normalised features.
        keep_ratio: Instead, the fraction of an utterance's frames that is kept, those of the best
            scores (``salad``, ``energy``), or by chance (``random``).
        positions: ``original``, the frames' places in the utterance, or ``compacted``, counting
            kept frames only.
        merge: What a kept frame takes with it: ``none``, or ``mean``, the mean of itself and of the
            dropped frames directly before it.
        factor: One frame of so many is kept (``downsample``).
        seed: Of the draws (``random``).
        before_block: Frames are dropped before this one of the blocks that the subnet runs, from 1;
            those before it see all. The rule decides from the subsampled frames in any case.
        restore_before_block: The dropped frames come back before this one, and the subnet has as
            many outputs as without the rule; None, as in the paper: never.
        restored: How they come back: ``unchanged``, as they were when they were dropped, or
            ``last_change``, plus what the blocks between have changed in the last kept frame
            before them, if their chunk has one.
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

    @property
    def sees_utterance(self) -> bool:
        """Whether it decides when the utterance has ended, so that no stream can follow it."""
        return self.keep_ratio is not None and self.kind != "random"

    @classmethod
    def parse(cls, spec: Any, where: str = "tokens") -> TokenSpec:
        """Read ``{kind: salad, threshold: 0.3, positions: original}``.

        Args:
            spec: The YAML block.
            where: Path of the block, for error messages.

        Raises:
            ConfigError: If a key or a value is wrong.

        Example:
            >>> TokenSpec.parse({"kind": "downsample"}).factor
            2
            >>> TokenSpec.parse({"kind": "random", "keep_rate": 0.5})
            Traceback (most recent call last):
            ...
            espnet2_supernet.errors.ConfigError: tokens: unknown key 'keep_rate'; did you mean \
'keep_ratio'?
        """
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{where}: write a block {{kind: salad, ...}}, got {spec!r}")
        kind = spec.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ConfigError(f"{where}.kind: one of {', '.join(_KINDS)}, got {kind!r}")
        given = {key: value for key, value in spec.items() if value is not None}
        check_keys(given, (*_SHARED, *_KINDS[kind]), where)
        # A key of another kind may stand there without a value: so a command line takes it back
        check_keys(spec, set(_SHARED).union(*_KINDS.values()), where)
        for key, choices in _CHOICES.items():
            if given.get(key, choices[0]) not in choices:
                raise ConfigError(
                    f"{where}.{key}: write {' or '.join(choices)}, got {given[key]!r}"
                )
        found = cls(**given)
        _check_values(found, where)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`parse` reads back to an equal declaration."""
        keys = (*_SHARED, *_KINDS[self.kind])
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}


def _check_values(spec: TokenSpec, where: str) -> None:
    ratio, threshold = spec.keep_ratio, spec.threshold
    if ratio is not None and not (is_number(ratio) and 0 < ratio <= 1):
        raise ConfigError(f"{where}.keep_ratio: a fraction above 0, at most 1; got {ratio!r}")
    if threshold is not None and not is_number(threshold):
        raise ConfigError(f"{where}.threshold: a number, got {threshold!r}")
    if threshold is not None and spec.kind == "salad" and not 0 < threshold < 1:
        raise ConfigError(f"{where}.threshold: a probability inside (0, 1), got {threshold!r}")
    if threshold is not None and ratio is not None:
        raise ConfigError(f"{where}: give threshold or keep_ratio, not both")
    if spec.kind == "energy" and threshold is None and ratio is None:
        raise ConfigError(f"{where}: kind energy needs a threshold or a keep_ratio")
    if spec.kind == "random" and ratio is None:
        raise ConfigError(f"{where}: kind random needs a keep_ratio")
    whole = (("factor", spec.factor, 2), ("seed", spec.seed, 0))
    for name, value, least in (*whole, ("before_block", spec.before_block, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{where}.{name}: a whole number from {least}, got {value!r}")
    restored = spec.restore_before_block
    if restored is not None and (
        isinstance(restored, bool) or not isinstance(restored, int) or restored <= spec.before_block
    ):
        raise ConfigError(
            f"{where}.restore_before_block: a whole number above before_block, "
            f"{spec.before_block}; got {restored!r}"
        )
    if spec.restored != "unchanged" and restored is None:
        raise ConfigError(
            f"{where}.restored: {spec.restored} is of frames that come back; "
            "give restore_before_block, too"
        )
    if spec.merge != "none" and (spec.before_block > 1 or restored is not None):
        key = "before_block" if restored is None else "restore_before_block"
        raise ConfigError(
            f"{where}: merge: {spec.merge} joins frames before the first block; "
            f"leave merge or {key} out"
        )
