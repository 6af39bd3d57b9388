"""Plots of the comparison: error rate against speed and against parameters, with the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.report.comparison import ComparedRow, deployed_size
from espnet2_supernet.report.figure import new_figure, save_figure
from espnet2_supernet.report.results import Decode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Speed, parameters and WER of S6-DAMON's two operating points, its dense model = 1, as a review at
# OpenReview (5qxdlSyyB3) quotes them; the paper's own text is not public.
OPERATING_POINTS = ((1.5, 2 / 3, 1.1), (2.0, 1 / 2, 1.5))
AXES = {"factor": "real-time factor (CPU time, 1 thread)", "parameters": "parameters (millions)"}
_MARKERS = "osD^vP*Xph<>d"
Point = tuple[float, float]


def plot_pareto(rows: Sequence[ComparedRow], test_set: str, axis: str, path: Path) -> bool:
    """Plot error rate against a price: full context above, streaming below, each with its front.

    Args:
        rows: The rows; those without either number are left out.
        test_set: Where the rate is from.
        axis: One of :data:`AXES`.
        path: PNG to write; its folder is made.

    Returns:
        Whether there was anything to draw.

    Raises:
        DataError: If the file cannot be written.
    """
    placed = [row for row in rows if _point(row, test_set, axis)]
    kinds = {"full context": True, "streaming": False}
    panels = [(title, [r for r in placed if _is_full(r) == full]) for title, full in kinds.items()]
    panels = [(title, found) for title, found in panels if found]
    if not panels:
        return False
    figure = new_figure(10.0, (4.0 + 0.08 * len(placed)) * len(panels))
    style = {id(r): (f"C{i % 10}", _MARKERS[i % len(_MARKERS)]) for i, r in enumerate(placed)}
    for axes, (title, found) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        for row in found:
            _draw_row(axes, row, test_set, axis, *style[id(row)])
        _draw_front(axes, [p for row in found if (p := _point(row, test_set, axis))])
        _draw_operating_points(axes, found, test_set, axis)
        axes.set_title(title)
        axes.set_xlabel(AXES[axis])
        axes.set_ylabel(f"{rows[0].decode.metric} {test_set} (%), 95 % interval")
        axes.margins(0.1)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)
    return True


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats in both numbers, from left to right.

    Args:
        points: (price, error rate).

    Example:
        >>> front([(1.0, 9.0), (2.0, 7.0), (3.0, 8.0)])
        [(1.0, 9.0), (2.0, 7.0)]
    """
    best: list[Point] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best


def _is_full(row: ComparedRow) -> bool:
    latency = row.decode.latency_ms
    return latency is None or math.isinf(latency)


def _point(row: ComparedRow, test_set: str, axis: str) -> Point | None:
    return _place(row.decode, test_set, axis)


def _place(decode: Decode, test_set: str, axis: str) -> Point | None:
    """Return price and error rate of a decode, if both are known."""
    score = decode.score(test_set)
    price = decode.measured.real_time_factor
    if axis == "parameters":
        parameters = deployed_size(decode)[0]
        price = None if parameters is None else parameters / 1e6
    return None if score is None or price is None else (price, score.total.error_rate)


def _draw_row(
    axes: Axes, row: ComparedRow, test_set: str, axis: str, colour: str, marker: str
) -> None:
    point, score = _point(row, test_set, axis), row.decode.score(test_set)
    assert point is not None and score is not None
    low, high = (score.interval.low, score.interval.high) if score.interval else (point[1],) * 2
    # A percentile interval need not contain the estimate; a bar cannot have negative length.
    bars = [[max(point[1] - low, 0.0)], [max(high - point[1], 0.0)]]
    axes.errorbar(
        [point[0]], [point[1]], yerr=bars, fmt=marker, color=colour, capsize=2, alpha=0.8,
        elinewidth=0.7, label=row.decode.label,
    )  # fmt: skip


def _draw_front(axes: Axes, points: Sequence[Point]) -> None:
    best = front(points)
    axes.plot(*zip(*best, strict=True), color="black", linewidth=1, zorder=1, label="Pareto front")


def _draw_operating_points(
    axes: Axes, rows: Sequence[ComparedRow], test_set: str, axis: str
) -> None:
    """Mark where the paper's two points lie, seen from the reference of these rows."""
    references = [row.reference for row in rows if row.reference is not None]
    origin = _place(references[0], test_set, axis) if references else None
    if origin is None or rows[0].decode.metric != "WER":
        return
    for marker, (speed, share, wer) in zip("12", OPERATING_POINTS, strict=True):
        price = origin[0] / speed if axis == "factor" else origin[0] * share
        text = f"S6-DAMON's {speed:g}x speed, {share:.2g} parameters, {wer:g}x WER"
        axes.plot([price], [origin[1] * wer], marker, color="black", markersize=12, label=text)
