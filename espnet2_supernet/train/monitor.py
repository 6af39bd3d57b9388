"""What is told after each epoch: sparsity, sizes of the subnets, one line of progress."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.train.reporter import MASKS_FINAL

PlotFunction = Callable[[Mapping[str, float], Path], None]
# Epoch -> phase -> statistic -> value, as ESPnet's reporter keeps them
History = Mapping[int, Mapping[str, Mapping[str, Any]]]
HistoryPlot = Callable[[History, Path], None]

# Statistics of a subnet that are shown in percent, and what they are called
_SHARES = {"cer": "CER", "accuracy": "accuracy", "agreement": "agreement", "keep_ratio": "kept"}


class EpochMonitor:
    """Collects and shows the state of a supernet at the end of each epoch.

    Args:
        model: The model with ``supernet`` and ``pruner``, and perhaps ``epoch_warnings``, which
            judges the statistics of a validation; not wrapped for data parallelism.
        output_dir: Folder of the experiment.
        max_epoch: Last epoch.
        is_main: Whether this process writes files and prints (rank 0).
        plot: ``plot(layer -> sparsity, path)``, or None for no plots of the layers.
        history_plot: ``plot(history, path)``, or None for no plot of the training.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        output_dir: str | Path,
        max_epoch: int,
        is_main: bool = True,
        plot: PlotFunction | None = None,
        history_plot: HistoryPlot | None = None,
    ) -> None:
        """Start the clock."""
        self.model = model
        self.output_dir = Path(output_dir)
        self.max_epoch = max_epoch
        self.is_main = is_main
        self.plot = plot
        self.history_plot = history_plot
        self._started = time.monotonic()
        self._epochs_done = 0

    @property
    def pruner(self) -> Any:
        """The model's pruner, or None."""
        return getattr(self.model, "pruner", None)

    def epoch_stats(self) -> dict[str, float]:
        """Return statistics for the reporter and TensorBoard.

        Returns:
            ``sparsity_<mask>``: fraction of zeros among prunable weights;
            ``masks_final``: 1 when the schedule has reached its final sparsity.
        """
        if self.pruner is None:
            return {}
        stats = {
            f"sparsity_{name}": float(report["prunable"])
            for name, report in self.pruner.sparsity_report().items()
        }
        stats[MASKS_FINAL] = float(self.pruner.finished)
        return stats

    def epoch_done(self, epoch: int, history: History) -> None:
        """Write ``subnets.json``, the plots, one line of progress, and the model's warnings.

        Args:
            epoch: Epoch that has just been validated.
            history: Statistics of all epochs so far.
        """
        stats = history[epoch]
        self._epochs_done += 1
        if not self.is_main:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        if hasattr(self.model, "supernet"):
            write_subnets(self.model, self.output_dir / "subnets.json")
        if self.plot is not None and self.pruner is not None:
            self._plot_layers()
        if self.history_plot is not None:
            self.history_plot(history, self.output_dir / "images" / "training.png")
        self.say(self._line(epoch, stats))
        warnings: Any = getattr(self.model, "epoch_warnings", None)
        for message in warnings(stats.get("valid", {})) if warnings is not None else []:
            logging.warning(message)
            self.say(f"warning: {message}")

    def say(self, line: str) -> None:
        """Print a line of progress and keep it in ``progress.log``."""
        if not self.is_main:
            return
        print(line, flush=True)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with open(self.output_dir / "progress.log", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _plot_layers(self) -> None:
        """Plot the sparsity of every layer, one picture per mask."""
        for name, report in self.pruner.sparsity_report().items():
            layers = {k: v for k, v in report.items() if k not in ("prunable", "total")}
            path = self.output_dir / "images" / f"layer_sparsity_{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert self.plot is not None
            self.plot(layers, path)

    def _line(self, epoch: int, stats: Mapping[str, Mapping[str, Any]]) -> str:
        """Format one epoch, e.g. ``epoch 3/40 | loss train 2.1 valid 1.9 | ...``."""
        train, valid = stats.get("train", {}), stats.get("valid", {})
        parts = [f"epoch {epoch}/{self.max_epoch}"]
        parts.append(f"loss train {_number(train.get('loss'))} valid {_number(valid.get('loss'))}")
        supernet: Any = getattr(self.model, "supernet", None)
        for key in ("recall", "precision", "keep_ratio"):
            if key in valid:
                parts.append(f"{key.replace('_', ' ')} {100 * float(valid[key]):.1f} %")
        for name in supernet.subnets if supernet is not None else ():
            fields = []
            if f"loss_{name}" in valid:
                fields.append(f"loss {_number(valid[f'loss_{name}'])}")
            for key, word in _SHARES.items():
                if f"{key}_{name}" in valid:
                    fields.append(f"{word} {100 * float(valid[f'{key}_{name}']):.1f} %")
            if fields:
                parts.append(f"{name}: {', '.join(fields)}")
        codes = [f"{float(v):.1f}" for k, v in valid.items() if k.startswith("code_perplexity_")]
        if codes:
            parts.append(f"code perplexity {', '.join(codes)}")
        sparsity = [
            f"{key[len('sparsity_') :]} {100 * value:.1f} %"
            for key, value in valid.items()
            if key.startswith("sparsity_")
        ]
        if sparsity:
            parts.append(f"sparsity {', '.join(sparsity)}")
        return " | ".join([*parts, self._remaining(epoch)])

    def _remaining(self, epoch: int) -> str:
        """Format the time per epoch and the time left at this pace."""
        seconds = (time.monotonic() - self._started) / max(self._epochs_done, 1)
        left = seconds * max(self.max_epoch - epoch, 0)
        return f"{seconds:.0f} s/epoch, {format_duration(left)} left"


def count_weights(model: torch.nn.Module, name: str) -> dict[str, int]:
    """Count the weights of one subnet that recognition needs, its heads included.

    Args:
        model: Model with ``supernet``.
        name: Subnet.

    Returns:
        ``parameters``, ``nonzero``, ``prunable``, ``prunable_nonzero`` and ``bytes_dense_fp32``.
    """
    supernet: Any = model.supernet
    counts = dict(supernet.counts(name, model))
    detector: Any = getattr(model, "detector", None)
    heads: Any = getattr(model, "ctc_heads", None)
    scale: Any = getattr(model, "log_scale", None)  # a student's, of a loss
    unused = 0 if heads is None else heads.unused_parameters()
    unused += 0 if scale is None else scale.numel()
    if detector is not None and not supernet.subnet(name).uses_detector:
        unused += sum(p.numel() for p in detector.parameters())
    counts["parameters"] -= unused
    counts["nonzero"] -= unused
    return {**counts, "bytes_dense_fp32": 4 * counts["parameters"]}


def write_subnets(model: torch.nn.Module, path: Path) -> None:
    """Write the sizes of all subnets as JSON.

    Args:
        model: Model with ``supernet``.
        path: Destination, replaced atomically; subnet -> :func:`count_weights`.
    """
    supernet: Any = model.supernet
    table = {name: count_weights(model, name) for name in supernet.subnets}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def format_duration(seconds: float) -> str:
    """Format seconds as ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _number(value: Any) -> str:
    """Format a statistic with four significant digits; ``-`` when there is none."""
    return "-" if value is None else f"{float(value):.4g}"
