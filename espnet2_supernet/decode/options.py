"""What a user may choose about decoding, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.runtime.search.options import SearchOptions, check_number
from espnet2_supernet.supernet.context import Context

CONTEXT_KEYS = ("chunk_size", "left_context", "right_context")


@dataclass(frozen=True)
class DecodeOptions(SearchOptions):
    """Settings of a search with shallow fusion.

    Attributes:
        lm_weight: Weight of the language model, 0 = none.

    Raises:
        ConfigError: If a value cannot be used.
    """

    lm_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        super().__post_init__()
        check_number("lm_weight", self.lm_weight, minimum=0.0)
        if self.search == "greedy" and self.lm_weight > 0:
            raise ConfigError("a language model needs search: beam")


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
