"""Errors that are the user's to mend: each message names the culprit and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class SupernetError(Exception):
    """Base of all errors that a command prints without a traceback."""


class ConfigError(SupernetError, ValueError):
    """A key or a value of a configuration cannot be used."""


class DataError(SupernetError, ValueError):
    """A corpus, an audio file or a transcript cannot be used."""


class CheckpointError(SupernetError, RuntimeError):
    """A checkpoint is missing, damaged or belongs to another configuration."""


def check_keys(given: Iterable[str], valid: Iterable[str], where: str) -> None:
    """Refuse unknown keys, naming the nearest valid one.

    Args:
        given: Keys found in the configuration.
        valid: Keys that reach code.
        where: Path of the block, e.g. ``supernet_conf.schedule``.

    Raises:
        ConfigError: If a key is unknown.
    """
    valid = sorted(valid)
    for key in given:
        if key in valid:
            continue
        close = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"valid keys: {', '.join(valid)}"
        raise ConfigError(f"{where}: unknown key '{key}'; {hint}")


def is_number(value: Any) -> bool:
    """Whether a configuration gave a finite number; true and false are none."""
    finite = isinstance(value, (int, float)) and value == value and abs(value) != float("inf")
    return finite and not isinstance(value, bool)
