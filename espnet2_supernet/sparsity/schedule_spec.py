"""Schedules from their YAML form, before the length of training is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys, is_number
from espnet2_supernet.sparsity.schedule import L0, Constant, Cubic, OneShot, PruneAndGrow, Schedule

_SHARED = ("kind", "begin", "end", "update_every", "freeze")
_KEYS = {
    "one_shot": ("kind", "begin"),
    "constant": (*_SHARED, "adjust"),
    "cubic": (*_SHARED, "initial", "adjust", "rewind"),
    "l0": ("kind", "begin", "end", "learning_rate"),
    "prune_and_grow": (*_SHARED[:4], "swap", "growth", "gradient_steps"),
}
GROWTHS = ("kept", "zero", "initial")


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule whose ``begin`` and ``end`` may be fractions of all steps.

    Attributes:
        kind: ``cubic``, ``constant``, ``one_shot``, ``prune_and_grow`` or ``l0``.
        begin: First update: a float is a fraction of all steps, an int a number of steps. Under
            ``l0`` the step at which the target has risen to the final sparsity.
        end: Last update, likewise; unused by ``one_shot``.
        update_every: Steps between updates.
        freeze: Whether masks stay as they are after ``end``.
        initial: Sparsity at ``begin`` as a fraction of the final one; ``cubic`` only.
        adjust: What trains until ``end``: ``masked``, the weights under the mask, or ``dense``, all
            weights, after those that an update prunes were set to zero (PARP, arXiv 2106.05933).
        swap: Fraction of kept groups to swap at first; ``prune_and_grow`` only, as the next two.
        growth: Weights that a grown group starts from: ``kept``, what they are; ``zero``, so that
            growing changes nothing at first; ``initial``, what they were at ``begin``.
        gradient_steps: Steps before an update whose gradients are summed.
        rewind: Go back to the weights of the first update after each later one, as iterative
            magnitude pruning with rewinding does (arXiv 1903.01611); ``cubic`` only.
        learning_rate: Of gates and multipliers, ``l0`` only (0.02 as DPHuBERT, which makes 50000
            updates; a gate moves by no more than this in one).
    """

    kind: str = "cubic"
    begin: float | int = 0.1
    end: float | int = 0.5
    update_every: int = 500
    freeze: bool = True
    initial: float = 0.0
    adjust: str = "masked"
    swap: float = 0.3
    growth: str = "kept"
    gradient_steps: int = 1
    learning_rate: float = 0.02
    rewind: bool = False

    @property
    def writes_weights(self) -> bool:
        """Whether updates change weights; then no other subnet may read these."""
        grows = self.kind == "prune_and_grow" and self.growth != "kept"
        return grows or self.adjust == "dense" or self.kind == "l0" or self.rewind

    @property
    def masks_follow_weights(self) -> bool:
        """Whether masks can be told from the weights alone; not after swaps, gates or rewinding."""
        return self.kind not in ("prune_and_grow", "l0") and not self.rewind

    @property
    def needs_total_steps(self) -> bool:
        """Whether a fraction has to be turned into steps."""
        used = (self.begin,) if self.kind == "one_shot" else (self.begin, self.end)
        return any(isinstance(when, float) for when in used)

    def resolve(self, total_steps: int | None = None) -> Schedule:
        """Turn fractions into steps.

        The first update comes after the first step at the earliest.

        Args:
            total_steps: Optimiser steps of the whole training.

        Raises:
            ConfigError: If a fraction has no total to refer to, or the end precedes the begin.
        """
        if self.needs_total_steps and not total_steps:
            raise ConfigError(
                "schedule: begin and end are fractions, so the number of optimiser steps must be "
                "known: call Pruner.set_total_steps first, or give begin and end as whole steps"
            )
        begin = max(_steps(self.begin, total_steps), 1)
        if self.kind == "one_shot":
            return OneShot(begin, begin)
        end = max(_steps(self.end, total_steps), 1)
        if end < begin:
            raise ConfigError(f"schedule: end (step {end}) comes before begin (step {begin})")
        if self.kind == "prune_and_grow":
            every = self.update_every
            return PruneAndGrow(begin, end, every, True, self.swap, self.gradient_steps)
        if self.kind == "l0":
            return L0(begin, end)
        if self.kind == "constant":
            return Constant(begin, end, self.update_every, self.freeze)
        return Cubic(begin, end, self.update_every, self.freeze, self.initial)

    def to_dict(self) -> dict[str, Any]:
        """Return what :func:`parse_schedule` reads back to an equal schedule."""
        values, defaults = asdict(self), {"adjust": "masked", "rewind": False}
        keys = [k for k in _KEYS[self.kind] if k not in defaults or values[k] != defaults[k]]
        return {key: values[key] for key in keys}  # without what older configurations have not


def parse_schedule(spec: Mapping[str, Any] | None, where: str = "schedule") -> ScheduleSpec:
    """Read ``{kind: cubic, begin: 0.1, end: 0.5, update_every: 500}``.

    Args:
        spec: The YAML block; ``None`` gives the defaults.
        where: Path of the block, for error messages.

    Raises:
        ConfigError: If a key or a value is wrong.
    """
    if spec is None:
        return ScheduleSpec()
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{where}: write a block such as {{kind: cubic, ...}}, got {spec!r}")
    kind = spec.get("kind", "cubic")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ConfigError(f"{where}.kind: unknown '{kind}'; there are: {', '.join(_KEYS)}")
    check_keys(spec, _KEYS[kind], f"{where} (kind {kind})")
    for key in ("begin", "end"):
        if key in spec:
            _check_when(spec[key], f"{where}.{key}")
    parsed = ScheduleSpec(**spec)
    _check_values(parsed, where)
    _check_together(parsed, where)
    return parsed


def _check_values(parsed: ScheduleSpec, where: str) -> None:
    """Refuse values that are wrong by themselves."""
    for key in ("update_every", "gradient_steps"):
        value = getattr(parsed, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{where}.{key}: a whole number of steps from 1, got {value!r}")
    for key in ("freeze", "rewind"):
        if not isinstance(getattr(parsed, key), bool):
            raise ConfigError(f"{where}.{key}: true or false, got {getattr(parsed, key)!r}")
    for key in ("initial", "swap"):
        value = getattr(parsed, key)
        if not is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"{where}.{key}: a fraction from 0 to 1, got {value!r}")
    rate = parsed.learning_rate
    if not is_number(rate) or not 0 < rate < 1:
        raise ConfigError(f"{where}.learning_rate: a number between 0 and 1, got {rate!r}")
    for key, valid in (("growth", GROWTHS), ("adjust", ("masked", "dense"))):
        if getattr(parsed, key) not in valid:
            one = " or ".join(valid)
            raise ConfigError(f"{where}.{key}: write {one}, got {getattr(parsed, key)!r}")


def _check_together(parsed: ScheduleSpec, where: str) -> None:
    """Refuse values that contradict each other."""
    if parsed.rewind and not (parsed.freeze and parsed.adjust == "masked"):
        raise ConfigError(f"{where}: rewind: true needs freeze: true and adjust: masked")
    if parsed.adjust == "dense" and not parsed.freeze:
        raise ConfigError(f"{where}: adjust: dense needs freeze: true, or no mask is ever in force")
    comparable = type(parsed.begin) is type(parsed.end) and parsed.kind != "one_shot"
    if comparable and parsed.end < parsed.begin:
        raise ConfigError(f"{where}: end {parsed.end} comes before begin {parsed.begin}")


def _check_when(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{where}: a fraction of training or a number of steps, got {value!r}")
    if isinstance(value, float) and not 0.0 <= value <= 1.0:
        raise ConfigError(f"{where}: a fraction lies between 0.0 and 1.0, got {value!r}")
    if value == 1 and isinstance(value, int):
        raise ConfigError(f"{where}: 1 is ambiguous; write 1.0 for all of training, 2 for step 2")
    if value < 0:
        raise ConfigError(f"{where}: a number of steps is not negative, got {value!r}")


def _steps(when: float | int, total_steps: int | None) -> int:
    return round(when * (total_steps or 0)) if isinstance(when, float) else when
