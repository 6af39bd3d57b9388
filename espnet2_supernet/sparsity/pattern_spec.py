"""Patterns from their YAML form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.pattern import (
    Block,
    CoupledUnits,
    Elementwise,
    Pattern,
    Structured,
)


def parse_pattern(spec: Any, where: str = "pattern") -> Pattern | CoupledUnits:
    """Read a pattern.

    Args:
        spec: ``elementwise``, ``{block: [16, 1]}``, ``{n_m: [2, 4]}``, ``{structured: output}``
            or ``{structured: [output, 64]}`` (64 rows, such as one attention head, as one unit);
            ``{structured: {kinds: [linear_units], min_kept: 1}}`` for units that can be cut out
            of the network, each with all its rows and columns; ``min_kept`` may be
            ``{kind: number}``.
        where: Path of the value, for error messages.

    Raises:
        ConfigError: If the value is no pattern.

    Example:
        >>> parse_pattern({"block": [16, 1]})
        Block(rows=16, cols=1)
    """
    if spec == "elementwise":
        return Elementwise()
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise ConfigError(
            f"{where}: write elementwise, {{block: [16, 1]}}, {{n_m: [2, 4]}} or "
            f"{{structured: output}}; got {spec!r}"
        )
    check_keys(spec, ("block", "n_m", "structured"), where)
    kind, value = next(iter(spec.items()))
    if kind == "block":
        return Block(*_two_sizes(value, f"{where}.block"))
    if kind == "n_m":
        n, m = _two_sizes(value, f"{where}.n_m")
        if n >= m:
            raise ConfigError(f"{where}.n_m: keep fewer than {m} of every {m}, got {value!r}")
        return NM(n, m)
    return _structured(value, f"{where}.structured")


def _structured(value: Any, where: str) -> Structured | CoupledUnits:
    if isinstance(value, Mapping):
        return _coupled(value, where)
    axis, unit = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, 1)
    if axis not in ("output", "input"):
        raise ConfigError(f"{where}: write output (rows) or input (columns), got {value!r}")
    return Structured(axis, _size(unit, where))


def _coupled(spec: Mapping[str, Any], where: str) -> CoupledUnits:
    check_keys(spec, ("kinds", "min_kept"), where)
    kinds = spec.get("kinds")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    listed = isinstance(kinds, (list, tuple)) and all(isinstance(kind, str) for kind in kinds)
    if not listed or not kinds or len(set(kinds)) < len(kinds):
        raise ConfigError(f"{where}.kinds: a list of different kinds of units, got {kinds!r}")
    least = spec.get("min_kept", 1)
    if not isinstance(least, Mapping):
        least = dict.fromkeys(kinds, least)
    check_keys(least, kinds, f"{where}.min_kept")
    return CoupledUnits(
        tuple((kind, _size(least.get(kind, 1), f"{where}.min_kept")) for kind in kinds)
    )


def _two_sizes(value: Any, where: str) -> tuple[int, int]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ConfigError(f"{where}: write two whole numbers, such as [2, 4]; got {value!r}")
    return _size(value[0], where), _size(value[1], where)


def _size(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{where}: a size is a whole number from 1, got {value!r}")
    return value
