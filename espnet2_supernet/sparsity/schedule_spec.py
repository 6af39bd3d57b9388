"""Schedules from their YAML form, before the length of training is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.sparsity.schedule import Constant, Cubic, OneShot, Schedule

_KEYS = {
    "one_shot": ("kind", "begin"),
    "constant": ("kind", "begin", "end", "update_every", "freeze"),
    "cubic": ("kind", "begin", "end", "update_every", "freeze", "initial"),
}


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule whose ``begin`` and ``end`` may be fractions of all steps.

    Attributes:
        kind: ``cubic``, ``constant`` or ``one_shot``.
        begin: First update: a float is a fraction of all steps, an int a number of steps.
        end: Last update, likewise; unused by ``one_shot``.
        update_every: Steps between updates.
        freeze: Whether masks stay as they are after ``end``.
        initial: Sparsity at ``begin`` as a fraction of the final one; ``cubic`` only.
    """

    kind: str = "cubic"
    begin: float | int = 0.1
    end: float | int = 0.5
    update_every: int = 500
    freeze: bool = True
    initial: float = 0.0

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
        if self.kind == "constant":
            return Constant(begin, end, self.update_every, self.freeze)
        return Cubic(begin, end, self.update_every, self.freeze, self.initial)

    def to_dict(self) -> dict[str, Any]:
        """Return what :func:`parse_schedule` reads back to an equal schedule."""
        values = asdict(self)
        return {key: values[key] for key in _KEYS[self.kind]}


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
    every, initial = parsed.update_every, parsed.initial
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"{where}.update_every: a whole number of steps from 1, got {every!r}")
    if not isinstance(parsed.freeze, bool):
        raise ConfigError(f"{where}.freeze: true or false, got {parsed.freeze!r}")
    if isinstance(initial, bool) or not isinstance(initial, (int, float)) or not 0 <= initial <= 1:
        raise ConfigError(f"{where}.initial: a fraction from 0 to 1, got {initial!r}")
    if kind != "one_shot" and type(parsed.begin) is type(parsed.end) and parsed.end < parsed.begin:
        raise ConfigError(f"{where}: end {parsed.end} comes before begin {parsed.begin}")
    return parsed


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
