"""What a mask is: pattern x score x sparsity x ranking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.pattern import CoupledUnits, Pattern
from espnet2_supernet.sparsity.pattern_spec import parse_pattern
from espnet2_supernet.sparsity.score import get_score

_KEYS = ("pattern", "score", "sparsity", "ranking", "include", "exclude")


@dataclass(frozen=True)
class MaskSpec:
    """The declaration of one mask.

    Attributes:
        pattern: Which weights live or die together.
        sparsity: Final fraction of zeros among the prunable weights.
        score: How important a weight is, by name.
        ranking: ``layer`` (same sparsity everywhere), ``global`` (one list over all layers) or
            ``kind`` (one list for each kind of unit).
        include: Regular expressions; a layer is prunable if one is found in its name. Empty: all.
        exclude: Regular expressions; a layer is not prunable if one is found in its name.
    """

    pattern: Pattern | CoupledUnits
    sparsity: float
    score: str = "magnitude"
    ranking: str = "layer"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def parse(cls, spec: Any, where: str = "mask") -> MaskSpec:
        """Read ``{pattern: {block: [16, 1]}, score: magnitude, sparsity: 0.7}``.

        Args:
            spec: The YAML block. N:M patterns fix the sparsity, which may then be left out.
            where: Path of the block, for error messages.

        Raises:
            ConfigError: If a key or a value is wrong.
        """
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{where}: write a block {{pattern: ..., sparsity: ...}}: {spec!r}")
        check_keys(spec, _KEYS, where)
        if "pattern" not in spec:
            raise ConfigError(f"{where}: pattern is missing, for example {{block: [16, 1]}}")
        pattern = parse_pattern(spec["pattern"], f"{where}.pattern")
        ranking = spec.get("ranking", "layer")
        if ranking not in ("layer", "kind", "global"):
            raise ConfigError(f"{where}.ranking: write layer, kind or global, got {ranking!r}")
        return cls(
            pattern=pattern,
            sparsity=_sparsity(spec.get("sparsity"), pattern, f"{where}.sparsity"),
            score=get_score(spec.get("score", "magnitude"), f"{where}.score").name,
            ranking=ranking,
            include=_expressions(spec.get("include"), f"{where}.include"),
            exclude=_expressions(spec.get("exclude"), f"{where}.exclude"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what ``parse`` reads back to an equal spec."""
        return {
            "pattern": self.pattern.to_spec(),
            "score": self.score,
            "sparsity": self.sparsity,
            "ranking": self.ranking,
            "include": list(self.include),
            "exclude": list(self.exclude),
        }

    def selects(self, layer_name: str) -> bool:
        """Whether a layer of that name is prunable."""
        included = not self.include or any(re.search(one, layer_name) for one in self.include)
        return included and not any(re.search(one, layer_name) for one in self.exclude)


def _sparsity(value: Any, pattern: Pattern | CoupledUnits, where: str) -> float:
    if isinstance(pattern, NM):
        if value is not None and value != pattern.sparsity:
            raise ConfigError(
                f"{where}: pattern n_m {pattern.n}:{pattern.m} means {pattern.sparsity:g}, "
                f"got {value!r}; leave sparsity out"
            )
        return pattern.sparsity
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ConfigError(f"{where}: a fraction between 0 and 1, got {value!r}")
    return float(value)


def _expressions(value: Any, where: str) -> tuple[str, ...]:
    expressions = [value] if isinstance(value, str) else value or ()
    if not isinstance(expressions, (list, tuple)):
        raise ConfigError(f"{where}: a list of regular expressions, got {value!r}")
    for expression in expressions:
        try:
            re.compile(expression)
        except (re.error, TypeError) as error:
            message = f"{where}: {expression!r} is no regular expression: {error}"
            raise ConfigError(message) from None
    return tuple(expressions)
