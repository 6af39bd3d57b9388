"""Plots of what was measured: WER against real-time factor, and against bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.report.figure import legend_below, new_figure, save_figure
from espnet2_supernet.report.speed import SpeedRow

_MARKERS = {"torch": "o", "openvino": "s", "runtime": "D"}


def plot_wer_against_factor(rows: Sequence[SpeedRow], path: Path) -> bool:
    """Plot WER against real-time factor (CPU time).

    Args:
        rows: The rows; those without either number are left out.
        path: PNG to write; its folder is made.

    Returns:
        Whether there was anything to draw.

    Raises:
        DataError: If the file cannot be written.
    """
    where = ("real_time_factor", "cpu", "total")
    return _plot(rows, where, 1.0, "real-time factor (CPU time, 1 thread)", path)


def plot_wer_against_bytes(rows: Sequence[SpeedRow], path: Path) -> bool:
    """Plot WER against bytes on disk; see :func:`plot_wer_against_factor`."""
    return _plot(rows, ("bytes_on_disk",), 1e-6, "MB on disk", path)


def _plot(
    rows: Sequence[SpeedRow], where: Sequence[str], scale: float, words: str, path: Path
) -> bool:
    points = []
    for row in rows:
        place, rate = row.number(*where), row.number("accuracy", "wer")
        if place and rate is not None:
            points.append((row, place * scale, rate))
    if not points:
        return False
    figure = new_figure(7.0, 4.5)
    axes = figure.add_subplot()
    for index, (row, place, rate) in enumerate(points):
        low, high = (row.number("accuracy", "interval", key) for key in ("low", "high"))
        # A percentile interval need not contain the estimate; a bar cannot have negative length.
        below = max(rate - low, 0.0) if low is not None else 0.0
        above = max(high - rate, 0.0) if high is not None else 0.0
        marker = _MARKERS.get(str(row.values.get("engine")), "v")
        axes.errorbar(
            [place], [rate], yerr=[[below], [above]], fmt=marker, color=f"C{index % 10}",
            capsize=3, label=row.label, alpha=0.8,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(words)
    axes.set_ylabel("WER (%), 95 % interval")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3, which="both")
    legend_below(figure, axes)
    save_figure(figure, path)
    return True
