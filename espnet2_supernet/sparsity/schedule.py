"""Schedules: when masks are estimated, and how sparse they are then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Mask updates from ``begin`` to ``end``, counted in completed optimiser steps.

    Updates come every ``update_every`` steps from ``begin`` on, and at ``end`` in any case, so
    the final sparsity is reached exactly. From then on masks are frozen, unless ``freeze`` is
    false: then they are re-estimated at the final sparsity for ever.

    Attributes:
        begin: Step of the first update.
        end: Step from which the final sparsity holds.
        update_every: Steps between updates.
        freeze: Whether masks stay as they are after ``end``.
    """

    begin: int
    end: int
    update_every: int = 1
    freeze: bool = True

    def target(self, step: int) -> float:
        """Return the wanted sparsity as a fraction of the final one, 0 to 1."""
        return 1.0 if step >= self.begin else 0.0

    def is_update(self, step: int) -> bool:
        """Whether masks are estimated after this step."""
        if step < self.begin or (self.freeze and step > self.end):
            return False
        return (step - self.begin) % self.update_every == 0 or step == self.end

    def is_frozen(self, step: int) -> bool:
        """Whether masks will not change any more."""
        return self.freeze and self.is_finished(step)

    def is_finished(self, step: int) -> bool:
        """Whether the final sparsity has been reached."""
        return step >= self.end


@dataclass(frozen=True)
class OneShot(Schedule):
    """Prune once, to the final sparsity, at ``begin`` (equal to ``end``)."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Final sparsity from ``begin`` on; which weights live is re-estimated until ``end``."""


@dataclass(frozen=True)
class Cubic(Schedule):
    """Sparsity rises fast at first and slowly at last (Zhu & Gupta, arXiv 1710.01878).

    ``s(t) = s_f + (s_i - s_f) * (1 - p)^3`` with ``p = (t - begin) / (end - begin)``: while many
    weights are redundant many go; the last ones get time to make up for the loss.

    Attributes:
        initial: Sparsity at ``begin``, as a fraction of the final one (``s_i / s_f``).

    Example:
        >>> cubic = Cubic(begin=10, end=50, update_every=10)
        >>> [(step, cubic.target(step)) for step in range(70) if cubic.is_update(step)]
        [(10, 0.0), (20, 0.578125), (30, 0.875), (40, 0.984375), (50, 1.0)]
    """

    initial: float = 0.0

    def target(self, step: int) -> float:
        """Return the wanted sparsity as a fraction of the final one, 0 to 1."""
        if step < self.begin:
            return 0.0
        if step >= self.end:
            return 1.0
        p = (step - self.begin) / (self.end - self.begin)
        return 1.0 + (self.initial - 1.0) * (1.0 - p) ** 3
