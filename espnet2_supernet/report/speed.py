"""What ``latency/latency.json`` of an experiment says, see ``espnet2_supernet.measure``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.files import read_json_object
from espnet2_supernet.report.latency import LATENCY_FILE, MeasuredLatency

FORMAT = 1
_SAME_DECODE = ("subnet", "search", "use")
_FACTOR = ("real_time_factor", "cpu")


@dataclass(frozen=True)
class SpeedRow:
    """One measured recogniser.

    Attributes:
        label: Its name.
        values: Everything that was measured.
    """

    label: str
    values: Mapping[str, Any]

    @property
    def not_measured(self) -> str:
        """Why it was not measured; empty if it was."""
        return str(self.values.get("not_measured") or "")

    def number(self, *keys: str) -> float | None:
        """Return a number inside the values, e.g. ``("chunk_ms", "cpu", "p90")``.

        Args:
            *keys: Path to it.

        Returns:
            The number; None if it was not measured.
        """
        found: Any = self.values
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        return float(found) if is_number else None


@dataclass(frozen=True)
class SpeedReport:
    """Content of one ``latency.json``.

    Attributes:
        expdir: Its experiment; of a file for several, the folder above that of the file.
        rows: The rows, in the order measured.
        machine: Where it ran: ``cpu``, ``features``, ``threads``, ``core``, ``foreign_load``.
        about: Everything else: ``utterances``, ``audio_seconds``, ``repeats``, ``command``, ...
        folder: Folder of the file, from which its rows name their experiments.
    """

    expdir: Path
    rows: Sequence[SpeedRow]
    machine: Mapping[str, Any]
    about: Mapping[str, Any]
    folder: Path = Path()

    def of(self, expdir: Path) -> SpeedReport | None:
        """Return what was measured of one experiment; None if nothing was.

        Args:
            expdir: Its folder.
        """
        own = [row for row in self.rows if self._experiment(row) == expdir.resolve()]
        return replace(self, expdir=expdir, rows=own) if own else None

    def _experiment(self, row: SpeedRow) -> Path | None:
        name = row.values.get("experiment")
        return (self.folder / str(name)).resolve() if name else None


def read_speed(expdir: Path, joint: SpeedReport | None = None) -> SpeedReport | None:
    """Read the measurements of an experiment.

    Args:
        expdir: Its folder.
        joint: Measurements of several experiments, which win over those of its own.

    Returns:
        The measurements; None if there are none.

    Raises:
        DataError: If the file is there but damaged or of another version.
    """
    found = joint.of(expdir) if joint is not None else None
    path = expdir / "latency" / LATENCY_FILE
    if found is not None or not path.exists():
        return found
    return read_latency(path)


def read_latency(path: Path) -> SpeedReport:
    """Read a ``latency.json``.

    Args:
        path: The file, of one experiment or of several.

    Raises:
        DataError: If it is missing, damaged or of another version.
    """
    content = read_json_object(path)
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {content.get('format')!r}, expected {FORMAT}; run stage 13"
        )
    rows, machine = content.get("rows"), content.get("machine")
    if not isinstance(rows, list) or not isinstance(machine, Mapping):
        raise DataError(f"{path}: 'rows' or 'machine' is missing; run stage 13 again")
    for row in rows:
        if not isinstance(row, Mapping) or not row.get("label"):
            raise DataError(f"{path}: a row has no label; run stage 13 again")
    about = {key: value for key, value in content.items() if key not in ("rows", "machine")}
    found = [SpeedRow(str(row["label"]), row) for row in rows]
    return SpeedReport(path.parent.parent, found, machine, about, path.parent)


def measured_latency(report: SpeedReport | None, decode: Mapping[str, Any]) -> MeasuredLatency:
    """Find what was measured of a decode: the row of the same subnet in PyTorch, float32.

    Args:
        report: Measurements of the experiment.
        decode: Content of ``decode.yaml``.

    Returns:
        Emission delay, real-time factors (CPU time) and bytes of the row, and factor and bytes of
        its bundle in the runtime; None where there is no such row.
    """
    row = _row_of(report, decode, "torch")
    if report is None or row is None:
        return MeasuredLatency()
    bundle = _row_of(report, decode, "runtime") or SpeedRow("", {})
    return MeasuredLatency(
        row.number("token_delay_ms", "all", "median"),
        row.number("token_delay_ms", "all", "p90"),
        row.number(*_FACTOR, "total"),
        str(report.machine.get("cpu", "")),
        report.machine.get("threads"),
        row.number(*_FACTOR, "encoder"),
        row.number("keep_ratio"),
        row.number("bytes_on_disk"),
        bundle.number(*_FACTOR, "total"),
        bundle.number("bytes_on_disk"),
        str(report.folder),
    )


def _row_of(report: SpeedReport | None, decode: Mapping[str, Any], engine: str) -> SpeedRow | None:
    """Return the float32 row of a decode's subnet, context and search in an engine."""
    for row in report.rows if report is not None else ():
        values = row.values
        if (values.get("engine"), values.get("precision")) != (engine, "fp32"):
            continue
        keys = _SAME_DECODE + (("beam_size",) if decode.get("search") == "beam" else ())
        same = all(values.get(key) == decode.get(key) for key in keys)
        if same and _context(values.get("context")) == _context(decode.get("context")):
            return row
    return None


def _context(context: Any) -> Any:
    """Return a context in a form that can be compared."""
    if isinstance(context, Mapping) and context.get("chunk_size") not in (None, "full"):
        keys = ("chunk_size", "left_context", "right_context")
        return tuple(context.get(key) or 0 for key in keys)
    return "full" if context else None
