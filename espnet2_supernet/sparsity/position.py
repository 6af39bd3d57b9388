"""Where a training is in its pruning schedule."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.schedule import Schedule
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec


class SchedulePosition(nn.Module, ABC):
    """Counts steps, in buffers, so that a checkpoint resumes exactly.

    Args:
        schedule: The schedule.

    Attributes:
        step: Completed optimiser steps, int64 scalar.
        total_steps: Steps of the whole training, int64 scalar, 0 = unknown.
    """

    step: torch.Tensor
    total_steps: torch.Tensor

    def __init__(self, schedule: ScheduleSpec) -> None:
        """Start at step 0."""
        super().__init__()
        self.schedule_spec = schedule
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("total_steps", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def update_masks(self) -> None:
        """Bring the masks to the present step."""

    @abstractmethod
    def _prepare(self) -> None:
        """Get ready for the next step."""

    def skip_to_end(self) -> None:
        """Go to the end of the schedule with the masks as they are."""
        self.step.fill_(self.schedule.end)
        self._prepare()

    @property
    def schedule(self) -> Schedule:
        """The schedule in steps.

        Raises:
            ConfigError: If it is in fractions and the total is unknown.
        """
        return self.schedule_spec.resolve(int(self.total_steps) or None)

    @property
    def frozen(self) -> bool:
        """Whether the masks will not change any more."""
        return self._knows_schedule() and self.schedule.is_frozen(int(self.step))

    @property
    def finished(self) -> bool:
        """Whether the final sparsity has been reached; false if training stopped too early."""
        return self._knows_schedule() and self.schedule.is_finished(int(self.step))

    def set_total_steps(self, total_steps: int, override: bool = False) -> None:
        """Tell how many optimiser steps the whole training has.

        A total that is already stored, as after resuming, is kept, so that the schedule does not
        jump. With ``override`` the new one replaces it; if the schedule has thereby ended, the
        masks are brought to the final sparsity at once.

        Raises:
            ConfigError: If the number is not positive.
        """
        if total_steps < 1:
            raise ConfigError(f"total optimiser steps must be positive, got {total_steps}")
        stored = int(self.total_steps)
        if stored and stored != total_steps and not override:
            logging.warning("Pruner keeps its %d steps; %d asked for", stored, total_steps)
            return
        was_finished = self.finished
        self.total_steps.fill_(total_steps)
        if self.schedule.end > total_steps:
            logging.warning(
                "pruning ends at step %d, training at step %d: the final sparsity will not be "
                "reached",
                self.schedule.end,
                total_steps,
            )
        if stored and self.finished and not was_finished:
            self.update_masks()

    def reset(self) -> None:
        """Go back to step 0 with an unknown total, keeping the masks (for a new training)."""
        self.step.zero_()
        self.total_steps.zero_()

    def _knows_schedule(self) -> bool:
        return not self.schedule_spec.needs_total_steps or int(self.total_steps) > 0
