"""ESPnet's reporter, which ranks only epochs whose masks are final (our choice)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from espnet2.train.reporter import Reporter, SubReporter

if TYPE_CHECKING:
    from espnet2_supernet.train.monitor import EpochMonitor

MASKS_FINAL = "masks_final"


class SupernetReporter(Reporter):
    """Reporter that knows the pruning schedule.

    While a model is being pruned its validation loss is often lower than at the end, because it
    is still dense. The best epochs, the n-best average and early stopping must therefore look at
    epochs whose masks are final; before there are any, all epochs count.

    Args:
        monitor: Gives the statistics of an epoch and shows its progress.
    """

    def __init__(self, monitor: EpochMonitor) -> None:
        """Start at epoch 0."""
        super().__init__()
        self._monitor = monitor

    def finish_epoch(self, sub_reporter: SubReporter) -> None:
        """Close a phase; after validation add sparsity and show one line of progress."""
        super().finish_epoch(sub_reporter)
        if sub_reporter.key == "valid":
            self.stats[self.epoch]["valid"].update(self._monitor.epoch_stats())
            self._monitor.epoch_done(self.epoch, self.stats)

    def final_epochs(self) -> list[int]:
        """Return the epochs whose masks are final, or all epochs when there are none."""
        final = [e for e, stats in self.stats.items() if is_final(stats)]
        return final or list(self.stats)

    def sort_epochs_and_values(self, key: str, key2: str, mode: str) -> list[tuple[int, float]]:
        """Rank epochs by a statistic, best first; not-a-number is worst.

        Args:
            key: Phase, e.g. ``valid``.
            key2: Statistic, e.g. ``loss``.
            mode: ``min`` or ``max``.

        Returns:
            (epoch, value) of the epochs of :meth:`final_epochs`.

        Raises:
            ValueError: If ``mode`` is neither.
            KeyError: If the current epoch does not have the statistic.
        """
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be min or max: {mode}")
        if not self.has(key, key2):
            raise KeyError(f"{key}.{key2} is not found: {self.get_all_keys()}")
        values = []
        for epoch in self.final_epochs():
            value = self.stats[epoch].get(key, {}).get(key2)
            if value is not None:
                values.append((epoch, value))
        sign = 1.0 if mode == "min" else -1.0
        return sorted(values, key=lambda x: math.inf if math.isnan(x[1]) else sign * x[1])

    def check_early_stopping(self, patience: int, *args, **kwargs) -> bool:
        """Stop early as ESPnet does, but never in the middle of the pruning schedule."""
        if not is_final(self.stats[self.get_epoch()]):
            return False
        return super().check_early_stopping(patience, *args, **kwargs)


def is_final(stats: dict[str, dict[str, float]]) -> bool:
    """Return whether an epoch with these statistics ended with final masks."""
    return bool(stats.get("valid", {}).get(MASKS_FINAL, 1.0))
