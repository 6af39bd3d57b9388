"""Groups of units in a real network: scored, masked and cut as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.gradients import Gradients
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import Structured
from espnet2_supernet.sparsity.prunable import check_min_kept, set_relaxed
from espnet2_supernet.sparsity.score import Score
from espnet2_supernet.sparsity.units import UnitPart, Units, cut


class UnitGroup:
    """The units that one module declares, bound to the modules they lie in.

    A mask is written into every part that carries masks. The parts that read decide what the
    network computes: where they are zero, the unit has no effect. So the first matrices of a unit
    may go on computing it (see :meth:`add_mask`).

    Args:
        name: Path of the declaring module in the network.
        module: That module.
        units: What it declares.

    Attributes:
        name: Path of the declaring module, and the kind if it declares several.
        kind: Kind of its units.
        count: Number U of units.
        min_kept: Units that pruning leaves in any case.
    """

    def __init__(self, name: str, module: Any, units: Units) -> None:
        several = len(module.units()) > 1
        self.name = f"{name}.{units.kind}".lstrip(".") if several else name
        self.kind, self.count, self.min_kept = units.kind, units.count, 1
        self._path, self._module = name, module
        self._parts: list[tuple[UnitPart, nn.Module]] = [
            (part, module.get_submodule(part.module)) for part in units.parts
        ]

    @property
    def layers(self) -> dict[str, MaskedLinear]:
        """The prunable matrices, by path in the network."""
        return {
            f"{self._path}.{part.module}" if self._path else part.module: module
            for part, module in self._parts
            if isinstance(module, MaskedLinear)
        }

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every unit.

        Matrices that make the units are not multiplied by it in training: zero columns behind
        them have the same effect, and the gradient of these columns then tells what a pruned
        unit would be worth. With both sides at zero it would tell nothing (our choice).
        """
        for part, module in self._parts:
            if isinstance(module, MaskedLinear):
                module.add_mask(name, Structured(part.axis, part.size))
                if not part.decides:
                    module.unread_masks.add(name)
                elif part.axis == "output":
                    module.bias_masks.add(name)
            elif hasattr(module, "add_mask"):
                module.add_mask(name)  # type: ignore[operator]

    def group_scores(self, score: Score, gradients: Gradients) -> torch.Tensor:
        """Mean score of the weights of every unit, (U,): ``||w_u||_1 / |w_u|`` by magnitude.

        All matrices of a unit count; biases, norms and depthwise kernels, which are a few of its
        weights, do not (our choice). A matrix without a gradient has none to give.
        """
        sums = torch.zeros(self.count, device=self._reader()[1].weight.device)
        for (part, layer), name in zip(self._matrices(), self.layers, strict=True):
            gradient = gradients.get(name)
            if gradient is not None or not score.needs_gradient:
                scores = score(layer.weight, gradient)
                sums += part.sum_units(scores.sum(1 if part.axis == "output" else 0))
        return sums / self.group_sizes()

    def group_sizes(self) -> torch.Tensor:
        """Weights of every unit in its matrices, int64 (U,)."""
        size = sum(layer.weight.numel() // self.count for _, layer in self._matrices())
        device = self._matrices()[0][1].weight.device
        return torch.full((self.count,), size, dtype=torch.int64, device=device)

    def pruned_besides(self, name: str) -> int:
        """Biases, kernels and norm entries that go with the matrices when a mask is cut out."""
        pruned = self.count - int(self.kept(name).sum())
        total = -int(self.group_sizes()[0])
        for part, module in self._parts:
            dim = 0 if part.axis == "output" else 1
            parameters = [p for p in module.parameters(recurse=False) if dim < p.ndim]
            total += sum(p.numel() // self.count for p in parameters)
        return pruned * total

    def kept(self, name: str) -> torch.Tensor:
        """Kept units of a mask, bool (U,)."""
        part, layer = self._reader()
        mask = layer.mask(name)
        return part.sum_units((mask[0] if part.axis == "input" else mask[:, 0]).long()) > 0

    def keep(self, name: str, keep: torch.Tensor) -> None:
        """Write a mask, in place: DistributedDataParallel and the optimiser hold its tensors."""
        for part, module in self._parts:
            if not hasattr(module, "add_mask"):
                continue
            entries = part.expand(keep)
            mask: torch.Tensor = module.mask(name)  # type: ignore[operator]
            if part.axis == "output" and mask.ndim == 2:
                entries = entries[:, None]
            mask.copy_(entries.expand_as(mask))

    def relax(self, name: str, on: bool) -> None:
        """Leave a mask out in training from now on, or apply it again."""
        for _, module in self._parts:
            if hasattr(module, "add_mask"):
                set_relaxed(module, name, on)

    def set_gate(self, name: str, values: torch.Tensor | None) -> None:
        """Multiply what reads the units by gates (U,) from now on, or no more (``None``)."""
        for part, layer in self._readers():
            if values is None:
                layer.gates.pop(name, None)
            else:
                gate = part.expand(values).to(layer.weight)
                layer.gates[name] = _along(part, gate).clone().requires_grad_()

    def gate_gradient(self, name: str) -> torch.Tensor:
        """Gradient of the gates (U,) that the minibatches since :meth:`set_gate` have left."""
        total = torch.zeros(self.count, device=self._reader()[1].weight.device)
        for part, layer in self._readers():
            grad = layer.gates[name].grad
            total += 0.0 if grad is None else part.sum_units(grad.flatten())
        return total

    @torch.no_grad()
    def scale_readers(self, values: torch.Tensor) -> None:
        """Multiply the weights that read the units by factors (U,)."""
        for part, layer in self._readers():
            factors = part.expand(values).to(layer.weight)
            layer.weight.mul_(_along(part, factors))
            if part.axis == "output" and layer.bias is not None:
                layer.bias.mul_(factors)

    def check(self, name: str, final: bool = False) -> None:
        """Refuse a mask whose parts contradict each other, or that keeps too few units.

        Raises:
            ConfigError: Naming the group and what is wrong.
        """
        keep = self.kept(name)
        check_min_kept(self, keep)
        for part, module in self._parts:
            if not hasattr(module, "add_mask"):
                continue
            mask: torch.Tensor = module.mask(name)  # type: ignore[operator]
            entries = part.expand(keep)
            wanted = entries[:, None] if part.axis == "output" and mask.ndim == 2 else entries
            if not torch.equal(mask, wanted.expand_as(mask)):
                raise ConfigError(
                    f"{self.name}: the mask of {part.module} does not fit the {self.kind} that "
                    "are kept"
                )

    def cut(self, keep: torch.Tensor) -> None:
        """Drop units from the network for good; masks and private norms must be gone.

        Args:
            keep: Kept units, bool (U,).
        """
        for part, module in self._parts:
            cut(module, part.axis, part.expand(keep))
        self.count = int(keep.sum())
        if hasattr(self._module, "units_cut"):
            self._module.units_cut(self.kind, keep)

    def _matrices(self) -> list[tuple[UnitPart, MaskedLinear]]:
        return [(part, m) for part, m in self._parts if isinstance(m, MaskedLinear)]

    def _readers(self) -> list[tuple[UnitPart, MaskedLinear]]:
        return [(part, layer) for part, layer in self._matrices() if part.decides]

    def _reader(self) -> tuple[UnitPart, MaskedLinear]:
        return self._readers()[0]


def _along(part: UnitPart, entries: torch.Tensor) -> torch.Tensor:
    """Entries of the axis of a part, in a shape that multiplies a weight (out, in)."""
    return entries[:, None] if part.axis == "output" else entries
