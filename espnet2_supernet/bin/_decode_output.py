"""The files of a decode: a log that survives a kill, then ESPnet's files, all at once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml

from espnet2_supernet.data.datadir import write_table
from espnet2_supernet.data.files import atomic_path
from espnet2_supernet.errors import DataError

PARTIAL = ".partial.jsonl"
FILES = ("text", "token", "token_int", "score", "token_time")
Row = dict[str, Any]


class PartialLog:
    """Results so far, one JSON line per utterance; a rerun with the same settings goes on.

    Args:
        folder: Output folder.
        settings: What must be equal for the results to be valid (model, subnet, search, ...).

    Raises:
        DataError: If the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Read what a former run left, or start."""
        self.path = folder / PARTIAL
        self.rows: dict[str, list[Row]] = {}
        head = json.dumps({"settings": settings}, sort_keys=True, default=str)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = self._read(head)
            with atomic_path(self.path) as temporary:  # drops a line that a kill cut short
                temporary.write_text("".join(f"{line}\n" for line in [head, *kept]), "utf-8")
            self._stream: TextIO = open(self.path, "a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror})") from error

    def _read(self, head: str) -> list[str]:
        """Return the valid lines of a former run with the same settings."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text("utf-8").split("\n")
        if lines[0] != head:
            return []
        kept = []
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                self.rows[entry["key"]] = entry["nbest"]
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
            kept.append(line)
        return kept

    def add(self, key: str, nbest: list[Row]) -> None:
        """Keep the result of an utterance.

        Raises:
            DataError: If the disk is full; what was written before stays.
        """
        self.rows[key] = nbest
        try:
            self._stream.write(json.dumps({"key": key, "nbest": nbest}) + "\n")
            self._stream.flush()
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); free some space and rerun, "
                "the utterances before are kept"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def remove(self) -> None:
        """Delete the log; its content is in the final files."""
        self.close()
        self.path.unlink(missing_ok=True)


def make_rows(results: Sequence[tuple]) -> list[Row]:
    """Turn results of ``Speech2Text`` into rows, one value per output file."""
    rows = []
    for text, tokens, ids, hypothesis in results:
        rows.append(
            {
                "text": text,
                "token": " ".join(tokens),
                "token_int": " ".join(map(str, ids)),
                "score": f"{hypothesis.score:.4f}",
                "token_time": " ".join(f"{t:.3f}" for t in hypothesis.times),
            }
        )
    return rows


def write_results(folder: Path, rows: Mapping[str, list[Row]], nbest: int) -> None:
    """Write ``text token token_int score token_time``, sorted by the bytes of the key.

    Args:
        folder: Output folder; with ``nbest > 1`` also ``<n>best_recog`` folders in it.
        rows: Rows by utterance, best first.
        nbest: How many were asked for.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        _write_rank(folder, rows, 0)
        for rank in range(nbest if nbest > 1 else 0):
            _write_rank(folder / f"{rank + 1}best_recog", rows, rank)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from error


def _write_rank(folder: Path, rows: Mapping[str, list[Row]], rank: int) -> None:
    chosen = {key: nbest[rank] for key, nbest in rows.items() if len(nbest) > rank}
    for name in FILES:
        table = {key: row[name] for key, row in chosen.items() if row[name] is not None}
        if table or not chosen:
            write_table(folder / name, table)


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a YAML file, atomically.

    Raises:
        DataError: If it cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(yaml.safe_dump(dict(content), sort_keys=False), "utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


class Progress:
    """A line on standard error: utterances done, and computing time over audio time.

    Args:
        total: Utterances to decode.
        label: What is decoded.
    """

    def __init__(self, total: int, label: str) -> None:
        """Start the clock."""
        self.total, self.label = total, label
        self.done, self.audio, self.busy = 0, 0.0, 0.0
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = time.monotonic()

    @property
    def real_time_factor(self) -> float | None:
        """Computing time over audio time; ``None`` before any audio."""
        return self.busy / self.audio if self.audio > 0 else None

    def step(self, audio: float = 0.0, busy: float = 0.0) -> None:
        """Count one utterance.

        Args:
            audio: Its length in seconds.
            busy: Computing time in seconds.
        """
        self.done, self.audio, self.busy = self.done + 1, self.audio + audio, self.busy + busy
        now = time.monotonic()
        if self.done == self.total or now - self._shown >= (0.2 if self._live else 10.0):
            self._shown = now
            factor = self.real_time_factor
            speed = "" if factor is None else f", real-time factor {factor:.3f}"
            line = f"{self.label}: {self.done}/{self.total} utterances{speed}"
            end = "\n" if self.done == self.total or not self._live else ""
            start = "\r" if self._live else ""
            print(f"{start}{line}", end=end, file=sys.stderr, flush=True)
