"""What earlier runs have already done to each audio file, so that a killed run loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What became of an utterance: a path and its length, or the reason to skip it.

    Attributes:
        utterance: Id.
        stamp: See :func:`source_stamp`.
        path: The good audio file.
        num_samples: Its length.
        reason: Why the utterance is bad; empty if it is good.
    """

    utterance: str
    stamp: str
    path: str = ""
    num_samples: int = 0
    reason: str = ""


def source_stamp(source: str, *settings: object) -> str:
    """Describe a source file and the settings: an outcome holds as long as this stays the same."""
    try:
        status = os.stat(source)
        version = [status.st_size, status.st_mtime_ns]
    except OSError:
        version = []
    return json.dumps([os.path.abspath(source), version, *settings])


class Journal:
    """Outcomes of this and of earlier, possibly killed, runs: one JSON line each.

    Args:
        path: The file; lines cut off by a kill are ignored.
    """

    def __init__(self, path: Path) -> None:
        """Read what earlier runs wrote."""
        self._path = path
        self._known: dict[str, Outcome] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    outcome = Outcome(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                self._known[outcome.utterance] = outcome

    def lookup(self, utterance: str, stamp: str) -> Outcome | None:
        """Return an earlier good outcome if source, settings and result are all still the same."""
        known = self._known.get(utterance)
        if known is None or known.stamp != stamp or known.reason or not os.path.exists(known.path):
            return None
        return known

    def record(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Write outcomes down as they come, and pass them on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as stream:
            stream.write("\n")  # ends a line that a kill may have cut
            for outcome in outcomes:
                stream.write(json.dumps(asdict(outcome)) + "\n")
                stream.flush()
                yield outcome
