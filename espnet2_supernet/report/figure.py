"""A figure without a display, and how it is written. matplotlib is imported when one is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 120


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; no pyplot, so the backend of the calling program stays as it is.

    Args:
        width: In inches.
        height: In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of some axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4) or 1)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, in whole or not at all; its folder is made.

    Raises:
        DataError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, dpi=_DPI, format="png")
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: the plot cannot be written: {error.strerror}") from error
