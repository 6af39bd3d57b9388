"""A plot of what a training has reported, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.report.figure import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Mapping[int, Mapping[str, Mapping[str, Any]]]

# Label of a panel, the statistics that it shows (a name, or how names begin), their factor
_PANELS = (
    ("loss of a subnet", ("loss_",), 1.0),
    ("CER (%)", ("cer_",), 100.0),
    ("contrastive accuracy (%)", ("accuracy_",), 100.0),
    ("code perplexity", ("code_perplexity_",), 1.0),
    ("temperature", ("temperature",), 1.0),
    ("weights kept, frames masked (%)", ("density_", "masked"), 100.0),
)
_NOT_A_SUBNETS = ("loss_diversity", "loss_penalty", "loss_scale")
_STYLES = {"train": ":", "valid": "-"}


def plot_history(history: History, path: Path) -> bool:
    """Plot the statistics of every epoch: one panel for each kind, dotted in training.

    Recognition has losses, character error rates and the density of its masks (the fraction of
    weights that are kept); pre-training has losses, contrastive accuracy, code perplexity of each
    codebook, temperature, the density of masks, and the fraction of frames that were masked.

    Args:
        history: Epoch -> phase (``train``, ``valid``) -> statistic -> value, the ``stats`` of
            ESPnet's reporter.
        path: PNG to write; its folder is made.

    Returns:
        Whether there was anything to draw.

    Raises:
        DataError: If the file cannot be written.
    """
    panels = [(label, list(_curves(history, names, factor))) for label, names, factor in _PANELS]
    panels = [(label, curves) for label, curves in panels if curves]
    if not panels:
        return False
    rows = (len(panels) + 1) // 2
    figure = new_figure(9.0, 2.6 * rows)
    grid = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, (label, curves) in zip(grid, panels, strict=False):
        _draw(axes, label, curves)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    save_figure(figure, path)
    return True


Curve = tuple[str, str, list[int], list[float]]


def _curves(history: History, names: tuple[str, ...], factor: float) -> Iterator[Curve]:
    """Yield name, phase, epochs and values of each statistic that is wanted."""
    table: dict[tuple[str, str], dict[int, float]] = {}
    for epoch, phases in sorted(history.items()):
        for phase, stats in phases.items():
            for name, value in _with_density(stats).items():
                wanted = any(name.startswith(n) if n.endswith("_") else name == n for n in names)
                if wanted and phase in _STYLES:
                    table.setdefault((name, phase), {})[epoch] = factor * float(value)
    for (name, phase), values in sorted(table.items()):
        yield name, phase, list(values), list(values.values())


def _with_density(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Put the density of each mask beside its sparsity; leave out losses of no subnet."""
    density = {
        f"density_{name.removeprefix('sparsity_')}": 1.0 - float(value)
        for name, value in stats.items()
        if name.startswith("sparsity_")
    }
    return {n: value for n, value in stats.items() if n not in _NOT_A_SUBNETS} | density


def _draw(axes: Axes, label: str, curves: list[Curve]) -> None:
    """Draw a panel: one colour for each statistic, one line style for each phase."""
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(c[0] for c in curves))}
    for name, phase, epochs, values in curves:
        alone = len(epochs) == 1  # a line of one point is invisible
        axes.plot(
            epochs,
            values,
            _STYLES[phase],
            color=colours[name],
            marker="." if alone else None,
            label=f"{name}, {phase}",
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(label, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
