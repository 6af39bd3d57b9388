"""The pruner: estimates masks from the weights while they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.gradients import GradientSums
from espnet2_supernet.sparsity.growth import Growth
from espnet2_supernet.sparsity.hard_concrete import HardConcreteGates
from espnet2_supernet.sparsity.position import SchedulePosition
from espnet2_supernet.sparsity.prunable import (
    NamedLayer,
    Prunable,
    as_prunables,
    keep_best_groups,
    layers_of,
    report_sparsity,
    zero_pruned,
)
from espnet2_supernet.sparsity.reachable import check_reachable
from espnet2_supernet.sparsity.rewinding import Rewinding
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec
from espnet2_supernet.sparsity.score import get_score
from espnet2_supernet.sparsity.spec import MaskSpec


class Pruner(SchedulePosition):
    """Re-estimates every mask from the weights, on a schedule of optimiser steps.

    After a step for which the schedule asks, each mask keeps the best groups of its pattern by
    its score, up to the sparsity the schedule wants now. No weight is changed. Because the
    weights of a mask are trained both with and without it, those it hides keep learning and may
    come back at the next update (self-pruning, after the abstract of arXiv 2207.11906, which
    leaves the criterion open: pattern, score and schedule are our choice).

    Under the schedule ``prune_and_grow`` the masks are estimated once and then swap groups (see
    ``growth``); under ``l0`` gates are learnt that become a mask (see ``hard_concrete``). With
    ``adjust: dense`` updates set pruned weights to zero and all weights train.

    All state is in buffers: position in the schedule, total, gradient sums, and the masks in
    the layers. So a checkpoint resumes exactly and DistributedDataParallel broadcasts it. The
    layers belong to the network; the pruner only refers to them, they are not its submodules.

    Args:
        masks: For every mask its declaration and what it is written to: prunables, or layers with
            their names, each with a mask of that name.
        schedule: When masks are estimated.
        total_weights: Weights of the whole network, for sparsity over all weights; prunable
            weights only if ``None``.
        network: What a schedule rewinds, if it does.

    Attributes:
        step: Completed optimiser steps, int64 scalar.
        total_steps: Steps of the whole training, int64 scalar, 0 = unknown.

    Example:
        >>> from espnet2_supernet.sparsity.linear import MaskedLinear
        >>> layer = MaskedLinear(4, 1)
        >>> layer.add_mask("device")
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 4.0, 3.0, 2.0]]))
        >>> spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
        >>> pruner = Pruner({"device": (spec, [("fc", layer)])}, ScheduleSpec("one_shot", begin=2))
        >>> for _ in range(2):
        ...     pruner.step_once()
        ...     print(layer.mask("device").int().tolist())
        [[1, 1, 1, 1]]
        [[0, 1, 1, 0]]
    """

    def __init__(
        self,
        masks: Mapping[str, tuple[MaskSpec, Sequence[Prunable | NamedLayer]]],
        schedule: ScheduleSpec,
        total_weights: int | None = None,
        network: nn.Module | None = None,
    ) -> None:
        """Check the layers and start at step 0."""
        super().__init__(schedule)
        for name, (_, layers) in masks.items():
            if not layers:
                raise ConfigError(f"mask '{name}' selects no layer; check its include and exclude")
        self.specs = {name: spec for name, (spec, _) in masks.items()}
        # In a dict, so nn.Module does not see the layers and register them twice
        self._prunables = {n: as_prunables(s.pattern, some) for n, (s, some) in masks.items()}
        for name, (spec, _) in masks.items():
            check_reachable(self._prunables[name], spec, f"mask '{name}'")
        self._total_weights = total_weights
        self._hook: Any = None
        self._optimizer: torch.optim.Optimizer | None = None
        watched = [n for n, spec in self.specs.items() if get_score(spec.score).needs_gradient]
        self.gradients = GradientSums(layers_of(p for n in watched for p in self._prunables[n]))
        self.growth: Growth | None = None
        if schedule.kind == "prune_and_grow":
            self.growth = Growth(self._prunables, self.specs, schedule.growth)
        self.rewinding = Rewinding(network) if schedule.rewind else None
        self.gates: HardConcreteGates | None = None
        if schedule.kind == "l0":
            sparsities = {name: spec.sparsity for name, spec in self.specs.items()}
            self.gates = HardConcreteGates(self._prunables, sparsities, schedule.learning_rate)
        self._prepare()

    # ---- the steps ----------------------------------------------------------------------------

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call :meth:`step_once` after each real step of the optimiser, and of no other.

        Accumulated minibatches make one step; a step skipped by the gradient scaler or the
        trainer makes none. The hook is not part of any checkpoint: attach again after resuming.
        """
        if self._hook is not None:
            self._hook.remove()
        self._hook = optimizer.register_step_post_hook(self._after_step)
        self._optimizer = optimizer

    def step_once(self) -> None:
        """Count one optimiser step and update the masks if the schedule says so.

        Raises:
            ConfigError: If the schedule is in fractions and the total is unknown.
        """
        schedule = self.schedule
        self.step += 1
        step = int(self.step)
        if not schedule.is_frozen(step - 1):
            self.gradients.add()
            if self.growth is not None:
                self.growth.effective.add()
            if self.gates is not None:
                self.gates.add(schedule.target(step))
        if schedule.is_update(step):
            self.update_masks()
            if self.rewinding is not None:
                self.rewinding.update(step <= schedule.begin, self._optimizer)
        self._prepare()

    def reset(self) -> None:
        """Go back to step 0 with an unknown total, keeping the masks (for a new training)."""
        super().reset()
        self.gradients.clear()
        if self.growth is not None:
            self.growth.effective.clear()
        self._prepare()

    def set_total_steps(self, total_steps: int, override: bool = False) -> None:
        """Tell how many steps the training has; see :meth:`SchedulePosition.set_total_steps`."""
        super().set_total_steps(total_steps, override)
        self._prepare()

    @torch.no_grad()
    def update_masks(self) -> None:
        """Bring every mask to the present step: estimate it from the weights, or swap groups."""
        schedule, step = self.schedule, int(self.step)
        fraction = schedule.swap_fraction(step)
        for name, spec in self.specs.items():
            if self.growth is None or fraction is None or not self._is_pruned(name):
                self._estimate(name, spec, schedule.target(step) * spec.sparsity)
            else:
                score = get_score(spec.score)
                self.growth.swap(name, spec, fraction, score, self._optimizer)
            if self.schedule_spec.adjust == "dense":
                zero_pruned(self._prunables[name], name)
        self.gradients.clear()
        if self.gates is not None:
            self.gates.fold()
        if self.growth is not None:
            self.growth.effective.clear()
            if fraction is None:
                self.growth.remember()

    def recompute(self) -> None:
        """Fit the masks to weights that were replaced, for example by an average.

        Frozen masks stay: the weights were trained to them. Masks before ``begin`` stay too, and
        those of swaps, gates or rewound weights, which remember more than the weights tell.
        """
        if not self.schedule_spec.masks_follow_weights:
            return
        if self._knows_schedule() and int(self.step) >= self.schedule.begin and not self.frozen:
            self.update_masks()

    # ---- what came of it ----------------------------------------------------------------------

    def sparsity_report(self) -> dict[str, dict[str, float]]:
        """Return the present sparsity of every mask.

        Returns:
            By mask name: by layer name the fraction of zeros; ``prunable`` over all its layers;
            ``total`` over all weights of the network.
        """
        return {
            name: report_sparsity(prunables, name, self._total_weights)
            for name, prunables in self._prunables.items()
        }

    def check_masks(self) -> None:
        """Refuse masks that are not of their pattern; complete ones are asked for when finished.

        Raises:
            ConfigError: Naming mask, layer and pattern.
        """
        for name in self.specs:
            for one in self._prunables[name]:
                try:
                    one.check(name, final=self.finished)
                except ConfigError as error:
                    raise ConfigError(f"mask '{name}' of layer {one.name}: {error}") from None

    # ---- inside -------------------------------------------------------------------------------

    def _estimate(self, name: str, spec: MaskSpec, sparsity: float) -> None:
        score = get_score(spec.score)
        scores = [one.group_scores(score, self.gradients) for one in self._prunables[name]]
        if self.gates is not None:
            scores = self.gates.scores(name)
        keep_best_groups(self._prunables[name], name, scores, sparsity, spec.ranking)

    def _is_pruned(self, name: str) -> bool:
        return not all(bool(one.kept(name).all()) for one in self._prunables[name])

    def _prepare(self) -> None:
        """Tell the layers what the next step needs of them; it follows from the position."""
        if not self._knows_schedule():
            return
        schedule, step = self.schedule, int(self.step)
        if self.growth is not None:
            self.growth.effective.watch(schedule.gathers(step + 1))
        if self.gates is not None:
            self.gates.prepare(step + 1, not schedule.is_finished(step))
        if self.schedule_spec.adjust == "dense":
            for name, prunables in self._prunables.items():
                for one in prunables:
                    one.relax(name, not schedule.is_finished(step))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._prepare()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # A fused optimiser is called in any case; the gradient scaler tells it to do nothing.
        if not bool(getattr(optimizer, "found_inf", False)):
            self.step_once()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the optimiser and its hook behind: they are not copied."""
        return {**self.__dict__, "_hook": None, "_optimizer": None}
