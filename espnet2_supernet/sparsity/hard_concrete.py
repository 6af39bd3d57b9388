"""Hard-concrete gates: units are closed by a penalty on their expected number (L0 pruning)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.effective import mean_over_ranks
from espnet2_supernet.sparsity.prunable import Prunable
from espnet2_supernet.sparsity.unit_group import UnitGroup

# Louizos et al., arXiv 1712.01312: temperature and stretch of the gates
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
DECAYS = (0.9, 0.999)
OPEN = math.log(99)  # a gate starts open with a probability of about 0.99


class HardConcreteGates(nn.Module):
    """One gate for each unit, multiplied into the columns that read it, learnt with the weights.

    A gate is drawn from a stretched and cut concrete distribution (arXiv 1712.01312). The expected
    sparsity is held at a target by a Lagrangian, ``l1 (s - t) + l2 (s - t)^2``, whose multipliers
    ascend (Wang et al., arXiv 1910.04732; for speech models DPHuBERT, arXiv 2305.17651).

    The gates are drawn once for each optimiser step, from its number alone: equal on all ranks,
    after resuming, and under every seed of the training. They have an Adam of their own; the loss
    of the model stays as it is. All state is in buffers. Gradients scaled for mixed precision would
    be taken as they are: train in float32.

    Args:
        prunables: By name of a mask what it is written to: groups of units.
        sparsities: By name of a mask its final sparsity.
        learning_rate: Of the gates and of the multipliers.

    Raises:
        ConfigError: If a mask does not prune units.
    """

    values: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor

    def __init__(
        self,
        prunables: Mapping[str, Sequence[Prunable]],
        sparsities: Mapping[str, float],
        learning_rate: float,
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self._sparsities = dict(sparsities)
        self._groups: list[tuple[str, UnitGroup]] = []
        for name, some in prunables.items():
            for one in some:
                if not isinstance(one, UnitGroup):
                    raise ConfigError(
                        f"mask '{name}': schedule l0 closes units; it needs pattern "
                        "{structured: {kinds: [...]}}, without layers"
                    )
                self._groups.append((name, one))
        count = sum(group.count for _, group in self._groups)
        multipliers = torch.zeros(2 * len(self._sparsities))
        # log_alpha of every gate, then two multipliers for each mask
        self.register_buffer("values", torch.cat([torch.full((count,), OPEN), multipliers]))
        self.register_buffer("first", torch.zeros(len(self.values)))
        self.register_buffer("second", torch.zeros(len(self.values)))
        self._step, self._active = 0, False

    def prepare(self, step: int, active: bool) -> None:
        """Put the gates of a step into the layers, or take them out.

        Args:
            step: Number of the step.
            active: Whether the gates are still learnt.
        """
        self._step, self._active = step, active
        self._place()

    def train(self, mode: bool = True) -> HardConcreteGates:
        """Use drawn gates in training and their median otherwise; an epoch starts clean."""
        super().train(mode)
        self._place()
        return self

    @torch.no_grad()
    def add(self, target: float) -> None:
        """Learn from the gradients that reached the gates in this step.

        Args:
            target: Wanted sparsity as a fraction of the final one.
        """
        if not self._active:
            return
        gathered = [group.gate_gradient(name) for name, group in self._groups]
        by_gate = mean_over_ranks(torch.cat(gathered).to(self.values))
        with torch.enable_grad():
            values = self.values.clone().requires_grad_()
            penalty, rising = self._penalties(values, target)
            log_alpha = values[: len(by_gate)]
            loss = (_stretch(log_alpha, self._noise()) * by_gate).sum() + penalty
            (grad,) = torch.autograd.grad(loss, values)
        grad[len(by_gate) :] = -rising  # the multipliers ascend
        if bool(grad.isfinite().all()):
            self._adam(grad)

    def scores(self, name: str) -> list[torch.Tensor]:
        """Return how open the gates of a mask are, (U,) for each group."""
        return [
            part
            for part, (mask, _) in zip(self._split(), self._groups, strict=True)
            if mask == name
        ]

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the gates, as they are without noise, into the weights, for good."""
        for part, (_, group) in zip(self._split(), self._groups, strict=True):
            group.scale_readers(_stretch(part, None))
        self.prepare(self._step, False)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._place()

    def _split(self) -> list[torch.Tensor]:
        sizes = [group.count for _, group in self._groups]
        return list(self.values[: sum(sizes)].split(sizes))

    def _noise(self) -> torch.Tensor:
        count = len(self.values) - 2 * len(self._sparsities)
        generator = torch.Generator().manual_seed(self._step)
        return torch.rand(count, generator=generator).clamp(1e-6, 1 - 1e-6).to(self.values)

    @torch.no_grad()
    def _place(self) -> None:
        parts = self._split()
        noise = self._noise() if self._active and self.training else None
        noises = [None] * len(parts) if noise is None else noise.split([len(p) for p in parts])
        for part, one, (name, group) in zip(parts, noises, self._groups, strict=True):
            group.set_gate(name, _stretch(part, one) if self._active else None)

    def _penalties(self, values: torch.Tensor, target: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of all penalties, and how far each multiplier's term is from zero."""
        count = len(values) - 2 * len(self._sparsities)
        is_open = torch.sigmoid(values[:count] - BETA * math.log(-GAMMA / ZETA))
        parts = is_open.split([group.count for _, group in self._groups])
        total, rising = values.new_zeros(()), []
        for i, (name, sparsity) in enumerate(self._sparsities.items()):
            kept = size = values.new_zeros(())
            for part, (mask, group) in zip(parts, self._groups, strict=True):
                if mask == name:
                    sizes = group.group_sizes()
                    kept, size = kept + (part * sizes).sum(), size + sizes.sum()
            off = (1 - kept / size) - target * sparsity
            one, two = self.values[count + 2 * i : count + 2 * i + 2]
            total = total + one * off + two * off**2
            rising += [off.detach(), off.detach() ** 2]
        return total, torch.stack(rising)

    def _adam(self, grad: torch.Tensor) -> None:
        self.first.lerp_(grad, 1 - DECAYS[0])
        self.second.lerp_(grad.square(), 1 - DECAYS[1])
        step = self._step
        first = self.first / (1 - DECAYS[0] ** step)
        second = self.second / (1 - DECAYS[1] ** step)
        self.values.sub_(self.learning_rate * first / (second.sqrt() + 1e-8))


def _stretch(log_alpha: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    """Gates of ``log_alpha`` (U,), between 0 and 1; without noise their median."""
    raised = log_alpha if noise is None else log_alpha + noise.log() - (1 - noise).log()
    concrete = torch.sigmoid(raised / BETA if noise is not None else raised)
    return (concrete * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
