"""Plots of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.figure import legend_below, new_figure, save_figure
from espnet2_supernet.report.results import Decode
from espnet2_supernet.report.table import set_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X"


def plot_rates(decodes: Sequence[Decode], path: Path) -> None:
    """Plot the error rate of every row with its 95 % interval, one colour per test set.

    Args:
        decodes: The rows.
        path: PNG to write; its folder is made.

    Raises:
        DataError: If the file cannot be written.
    """
    sets = set_names(decodes)
    figure = new_figure(7.0, 1.6 + 0.28 * len(decodes) * max(len(sets), 1))
    axes = figure.add_subplot()
    for index, name in enumerate(sets):
        offset = 0.6 * ((index + 0.5) / len(sets) - 0.5)
        places = [row + offset for row, decode in enumerate(decodes) if decode.score(name)]
        _draw_rates(axes, decodes, name, places, index, horizontal=True)
    axes.set_yticks(range(len(decodes)), [decode.label for decode in decodes])
    axes.set_ylim(len(decodes) - 0.5, -0.5)  # first row on top, as in the table
    axes.set_xlabel(f"{decodes[0].metric} (%), 95 % interval")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    legend_below(figure, axes)
    save_figure(figure, path)


def plot_rates_against_nonzero(decodes: Sequence[Decode], path: Path) -> bool:
    """Plot error rates against non-zero parameters.

    Args:
        decodes: The rows; those without a known size are left out.
        path: PNG to write; its folder is made.

    Returns:
        Whether there was anything to draw.

    Raises:
        DataError: If the file cannot be written.
    """
    sized = [decode for decode in decodes if decode.size is not None]
    if not any(decode.score(name) for decode in sized for name in decode.sets):
        return False
    figure = new_figure(7.0, 4.5)
    axes = figure.add_subplot()
    sets = set_names(sized)
    counts = [decode.size.nonzero / 1e6 for decode in sized if decode.size]
    # Rows of one size and sets of one row share their abscissa: sets stand side by side.
    step = 0.015 * ((max(counts) - min(counts)) or max(counts))
    for index, name in enumerate(sets):
        shift = step * (index - (len(sets) - 1) / 2)
        places = [d.size.nonzero / 1e6 + shift for d in sized if d.size and d.score(name)]
        _draw_rates(axes, sized, name, places, index, horizontal=False)
        if index == len(sets) - 1:
            _label_points(axes, sized, name, places)
    axes.set_xlabel("non-zero parameters (millions)")
    axes.set_ylabel(f"{decodes[0].metric} (%), 95 % interval")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.25)
    axes.grid(alpha=0.3)
    legend_below(figure, axes)
    save_figure(figure, path)
    return True


def plot_layer_sparsity(report: Mapping[str, float], path: Path) -> None:
    """Plot the sparsity of every layer as bars.

    Args:
        report: ``{layer: fraction of zeros in [0, 1]}``.
        path: PNG to write; its folder is made.

    Raises:
        DataError: If the report is empty or the file cannot be written.
    """
    if not report:
        raise DataError(f"{path}: no layer to plot")
    figure = new_figure(8.0, 1.2 + 0.2 * len(report))
    axes = figure.add_subplot()
    values = [100.0 * value for value in report.values()]
    axes.barh(range(len(values)), values, color="tab:blue")
    axes.set_yticks(range(len(values)), list(report), fontsize=7)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("sparsity (%)")
    axes.grid(axis="x", alpha=0.3)
    save_figure(figure, Path(path))


def _draw_rates(
    axes: Axes,
    decodes: Sequence[Decode],
    name: str,
    places: Sequence[float],
    index: int,
    horizontal: bool,
) -> None:
    scores = [score for score in (decode.score(name) for decode in decodes) if score]
    rates = [score.total.error_rate for score in scores]
    spans = [(s.interval.low, s.interval.high) if s.interval else (r, r)
             for s, r in zip(scores, rates, strict=True)]  # fmt: skip
    # A percentile interval need not contain the estimate; a bar cannot have negative length.
    below = [max(rate - low, 0.0) for rate, (low, _) in zip(rates, spans, strict=True)]
    above = [max(high - rate, 0.0) for rate, (_, high) in zip(rates, spans, strict=True)]
    style: dict[str, Any] = {
        "fmt": _MARKERS[index % len(_MARKERS)],
        "color": f"C{index}",
        "capsize": 3,
        "label": name,
    }
    if horizontal:
        axes.errorbar(rates, places, xerr=[below, above], **style)
    else:
        axes.errorbar(places, rates, yerr=[below, above], **style)


def _label_points(
    axes: Axes, decodes: Sequence[Decode], name: str, places: Sequence[float]
) -> None:
    scored = [(decode.label, decode.score(name)) for decode in decodes]
    points = [(label, score.total.error_rate) for label, score in scored if score]
    for place, (label, rate) in zip(places, points, strict=True):
        axes.annotate(label, (place, rate), (6, 4), textcoords="offset points", fontsize=8)
