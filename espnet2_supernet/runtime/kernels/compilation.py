"""Tells when numba compiles, so that a program can say why it takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event as events


class _FirstCompilation(events.Listener):
    """Calls a function when the first kernel is compiled; one loaded from the cache is none."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, event: events.Event) -> None:
        """Tell, once."""
        if self._tell is not None:
            self._tell()
            self._tell = None

    def on_end(self, event: events.Event) -> None:
        """Do nothing."""


@contextmanager
def on_first_compilation(tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` if and when a kernel is compiled inside the block."""
    listener = _FirstCompilation(tell)
    events.register("numba:compile", listener)
    try:
        yield
    finally:
        events.unregister("numba:compile", listener)
