"""What a user may choose about a search, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, TypeVar

from espnet2_supernet.errors import ConfigError, check_keys

SEARCHES = ("greedy", "beam")
USES = ("auto", "ctc", "rnnt")

OptionsT = TypeVar("OptionsT", bound="SearchOptions")


@dataclass(frozen=True)
class SearchOptions:
    """Settings of a search.

    Attributes:
        search: ``greedy`` or ``beam``.
        beam_size: Hypotheses kept by the beam search.
        use: Which output layer: ``ctc``, ``rnnt``, or ``auto`` (RNN-T where there is one).
        nbest: Hypotheses returned; greedy search has one.
        length_bonus: Added to the score per token (beam search).
        max_symbols: RNN-T: tokens per frame at most; ``None`` = 10 greedy, 3 beam.

    Raises:
        ConfigError: If a value cannot be used.
    """

    search: str = "greedy"
    beam_size: int = 10
    use: str = "auto"
    nbest: int = 1
    length_bonus: float = 0.0
    max_symbols: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        check_choice("search", self.search, SEARCHES)
        check_choice("use", self.use, USES)
        for name in ("beam_size", "nbest", "max_symbols"):
            check_count(name, getattr(self, name), optional=name == "max_symbols")
        check_number("length_bonus", self.length_bonus, minimum=-inf)
        if self.search == "greedy" and (self.length_bonus or self.nbest > 1):
            raise ConfigError("length_bonus or nbest > 1 needs search: beam")

    @classmethod
    def parse(cls: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
        """Read options by name.

        Raises:
            ConfigError: If one is unknown, naming the nearest, or has no meaning.
        """
        check_keys(given, cls.__dataclass_fields__, "options of the search")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for ``decode.yaml``."""
        return asdict(self)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices; raises ConfigError."""
    if value not in choices:
        raise ConfigError(f"{name}: '{value}' is not one of {', '.join(choices)}")


def check_count(name: str, value: Any, optional: bool) -> None:
    """Refuse what is no whole number of at least 1 (or None, where optional); as above."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}: a whole number of at least 1, not {value!r}")


def check_number(name: str, value: Any, minimum: float) -> None:
    """Refuse what is no finite number of at least ``minimum``; as above."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not isfinite(value) or value < minimum:
        limit = "a finite number" if minimum == -inf else f"a number of at least {minimum:g}"
        raise ConfigError(f"{name}: {limit}, not {value!r}")
