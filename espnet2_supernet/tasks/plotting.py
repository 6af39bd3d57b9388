"""The trainer with the plots of the report, which it must not import itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from espnet2_supernet.train.trainer import SupernetTrainer


def plot_layer_sparsity(report: Mapping[str, float], path: Path) -> None:
    """Draw the sparsity of every layer; see :mod:`espnet2_supernet.report.plots`."""
    from espnet2_supernet.report import plots  # matplotlib is slow to import

    plots.plot_layer_sparsity(dict(report), path)


def plot_history(stats: Mapping[int, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """Draw the statistics of all epochs; see :mod:`espnet2_supernet.report.history`."""
    from espnet2_supernet.report import history

    history.plot_history(stats, path)


class PlottingTrainer(SupernetTrainer):
    """The trainer, with plots."""

    layer_plot = staticmethod(plot_layer_sparsity)
    history_plot = staticmethod(plot_history)
