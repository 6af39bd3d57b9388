"""What a user may choose about decoding, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.supernet.context import Context

SEARCHES = ("greedy", "beam")
USES = ("auto", "ctc", "rnnt")
CONTEXT_KEYS = ("chunk_size", "left_context", "right_context")


@dataclass(frozen=True)
class DecodeOptions:
    """Settings of a search.

    Attributes:
        search: ``greedy`` or ``beam``.
        beam_size: Hypotheses kept by the beam search.
        use: Which output layer: ``ctc``, ``rnnt``, or ``auto`` (RNN-T where there is one).
        nbest: Hypotheses returned; greedy search has one.
        lm_weight: Weight of the language model, 0 = none.
        length_bonus: Added to the score per token (beam search).
        max_symbols: RNN-T: tokens per frame at most; ``None`` = 10 greedy, 3 beam.

    Raises:
        ConfigError: If a value cannot be used.
    """

    search: str = "greedy"
    beam_size: int = 10
    use: str = "auto"
    nbest: int = 1
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    max_symbols: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        _check_choice("search", self.search, SEARCHES)
        _check_choice("use", self.use, USES)
        for name in ("beam_size", "nbest", "max_symbols"):
            _check_count(name, getattr(self, name), optional=name == "max_symbols")
        _check_number("lm_weight", self.lm_weight, minimum=0.0)
        _check_number("length_bonus", self.length_bonus, minimum=-inf)
        if self.search == "greedy" and (self.lm_weight > 0 or self.length_bonus or self.nbest > 1):
            raise ConfigError("a language model, length_bonus or nbest > 1 needs search: beam")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> DecodeOptions:
        """Read options by name.

        Raises:
            ConfigError: If one is unknown, naming the nearest, or has no meaning.
        """
        check_keys(given, cls.__dataclass_fields__, "Speech2Text")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for ``decode.yaml``."""
        return asdict(self)


def merge_context(default: Context, given: Context | Mapping[str, Any] | str | None) -> Context:
    """Overlay a user's wish on the context that a subnet uses by default.

    Args:
        default: First context of the subnet.
        given: A whole context, ``"full"``, some of its keys (the others keep the default's
            value), or ``None``.

    Raises:
        ConfigError: If a key is unknown or a value has no meaning.

    Example:
        >>> merge_context(Context(16, 64), {"chunk_size": 8})
        Context(chunk_size=8, left_context=64, right_context=0)
    """
    if given is None or isinstance(given, Context):
        return given or default
    if isinstance(given, Mapping):
        check_keys(given, CONTEXT_KEYS, "context")
        if given.get("chunk_size") == "full":
            return Context.parse("full" if len(given) == 1 else dict(given), "context")
        values = {key: getattr(default, key) for key in CONTEXT_KEYS}
        values.update(given)
        return Context.parse(values, "context")
    return Context.parse(given, "context")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name}: '{value}' is not one of {', '.join(choices)}")


def _check_count(name: str, value: Any, optional: bool) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}: a whole number of at least 1, not {value!r}")


def _check_number(name: str, value: Any, minimum: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not isfinite(value) or value < minimum:
        limit = "a finite number" if minimum == -inf else f"a number of at least {minimum:g}"
        raise ConfigError(f"{name}: {limit}, not {value!r}")
