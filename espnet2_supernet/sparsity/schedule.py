"""Schedules: when masks are estimated, and how sparse they are then."""

from __future__ import annotations

import math
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

    def swap_fraction(self, step: int) -> float | None:
        """Return the fraction of kept groups to swap at this update; ``None``: estimate anew."""
        return None

    def gathers(self, step: int) -> bool:
        """Whether the gradients of this step decide which groups grow."""
        return False


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


@dataclass(frozen=True)
class PruneAndGrow(Constant):
    """Prune once at ``begin``; then swap ever fewer kept groups for pruned ones until ``end``.

    The fraction falls like a cosine, ``swap / 2 * (1 + cos(pi * p))`` with
    ``p = (t - begin) / (end - begin)`` (RigL, arXiv 1911.11134). Dropped are the groups of lowest
    score, grown those of largest gradient (SAFARI of S6-DAMON, as its reviewers tell it).

    Attributes:
        swap: Fraction of the kept groups that would be swapped at ``begin``.
        gradient_steps: Steps before an update whose gradients are summed.

    Example:
        >>> schedule = PruneAndGrow(begin=10, end=50, update_every=20, swap=0.3)
        >>> [(t, schedule.swap_fraction(t)) for t in (10, 30, 50)]
        [(10, None), (30, 0.15), (50, 0.0)]
    """

    swap: float = 0.3
    gradient_steps: int = 1

    def swap_fraction(self, step: int) -> float | None:
        """Return the fraction of kept groups to swap at this update; ``None``: estimate anew."""
        if step <= self.begin:
            return None
        p = min((step - self.begin) / max(self.end - self.begin, 1), 1.0)
        return 0.5 * self.swap * (1.0 + math.cos(math.pi * p))

    def gathers(self, step: int) -> bool:
        """Whether the gradients of this step decide which groups grow."""
        coming = range(step, step + self.gradient_steps)
        return any(later > self.begin and self.is_update(later) for later in coming)


@dataclass(frozen=True)
class L0(Schedule):
    """Gates are learnt from the start; at ``end`` they become a mask.

    The target of their sparsity rises linearly from 0 to the final one until ``begin``.

    Example:
        >>> [L0(begin=10, end=20).target(step) for step in (0, 5, 10, 15)]
        [0.0, 0.5, 1.0, 1.0]
    """

    def target(self, step: int) -> float:
        """Return the wanted sparsity as a fraction of the final one, 0 to 1."""
        return min(step / self.begin, 1.0)

    def is_update(self, step: int) -> bool:
        """Whether masks are estimated after this step."""
        return step == self.end
