"""Whole layers of a stack as what a mask prunes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.gradients import Gradients
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import CoupledUnits
from espnet2_supernet.sparsity.prunable import check_min_kept
from espnet2_supernet.sparsity.score import Score
from espnet2_supernet.supernet.depth import LayerStack
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.subnet import Subnet


class LayerGroup:
    """The layers of a stack, each pruned as one; a :class:`Cuttable` beside ``UnitGroup``.

    Which layers run is in a mask of the stack. The matrices of a layer have masks, too, all ones
    or all zeros: nothing computes with them, but they count what is pruned.

    Args:
        name: Path of the stack in the network.
        stack: The stack.

    Attributes:
        name: Path of the stack.
        kind: ``layers``.
        count: Number U of layers that may be left out.
        min_kept: Layers that pruning leaves in any case.
    """

    kind = "layers"

    def __init__(self, name: str, stack: LayerStack) -> None:
        self.name, self.stack, self.min_kept = name, stack, 1
        paths = {id(layer): str(number) for number, layer in enumerate(stack)}
        self._matrices: list[dict[str, MaskedLinear]] = [
            {
                ".".join(filter(None, (name, paths[id(layer)], path))): module
                for path, module in layer.named_modules()
                if isinstance(module, MaskedLinear)
            }
            for layer in stack.counted
        ]
        self.count = len(self._matrices)

    @property
    def layers(self) -> dict[str, MaskedLinear]:
        """The matrices of all layers, by path in the network."""
        return {path: matrix for some in self._matrices for path, matrix in some.items()}

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every layer."""
        self.stack.add_mask(name)
        for matrix in self.layers.values():
            matrix.add_mask(name)
            matrix.unread_masks.add(name)  # a pruned layer is not run at all

    def group_scores(self, score: Score, gradients: Gradients) -> torch.Tensor:
        """Mean score of the weights of every layer, (U,), from its matrices alone."""
        sums = []
        for some in self._matrices:
            total = torch.zeros((), device=self._device)
            for path, matrix in some.items():
                gradient = gradients.get(path)
                if gradient is not None or not score.needs_gradient:
                    total = total + score(matrix.weight, gradient).sum()
            sums.append(total)
        return torch.stack(sums) / self.group_sizes()

    def group_sizes(self) -> torch.Tensor:
        """Weights of every layer in its matrices, int64 (U,)."""
        sizes = [sum(m.weight.numel() for m in some.values()) for some in self._matrices]
        return torch.tensor(sizes, dtype=torch.int64, device=self._device)

    def pruned_besides(self, name: str) -> int:
        """Biases, norms and kernels that go with the matrices when pruned layers are cut out."""
        total = 0
        for layer, some, keep in zip(
            self.stack.counted, self._matrices, self.kept(name).tolist(), strict=True
        ):
            if not keep:
                norms = [m for m in layer.modules() if isinstance(m, SubnetLayerNorm)]
                total += sum(p.numel() for p in layer.parameters())
                total -= sum(matrix.weight.numel() for matrix in some.values())
                total -= sum(norm.unused_parameters() for norm in norms)
        return total

    def kept(self, name: str) -> torch.Tensor:
        """Kept layers of a mask, bool (U,)."""
        return self.stack.mask(name).to(self._device)

    def keep(self, name: str, keep: torch.Tensor) -> None:
        """Write a mask, in place."""
        self.stack.mask(name).copy_(keep)
        for some, one in zip(self._matrices, keep, strict=True):
            for matrix in some.values():
                matrix.mask(name).copy_(one)

    def relax(self, name: str, on: bool) -> None:
        """Run pruned layers in training from now on, or leave them out again."""
        (self.stack.relaxed_masks.add if on else self.stack.relaxed_masks.discard)(name)

    def check(self, name: str, final: bool = False) -> None:
        """Refuse a mask that keeps too few layers, or matrices of a layer that does not run.

        Raises:
            ConfigError: Naming the stack and what is wrong.
        """
        keep = self.kept(name)
        check_min_kept(self, keep)
        for some, one in zip(self._matrices, keep.tolist(), strict=True):
            for path, matrix in some.items():
                if bool(matrix.mask(name).all() if not one else not matrix.mask(name).all()):
                    raise ConfigError(f"{path}: its mask does not fit the layers that are kept")

    def cut(self, keep: torch.Tensor) -> None:
        """Drop layers from the stack for good.

        Args:
            keep: Kept layers, bool (U,).
        """
        self.stack.cut(keep)
        self.count = int(keep.sum())

    @property
    def _device(self) -> torch.device:
        return next(matrix.weight.device for matrix in self.layers.values())


def find_layers(root: nn.Module) -> dict[str, LayerGroup]:
    """Find every stack of layers with matrices in a network, by its path."""
    groups = {
        name: LayerGroup(name, stack)
        for name, stack in root.named_modules()
        if isinstance(stack, LayerStack)
    }
    return {name: group for name, group in groups.items() if group.layers}


def check_layer_masks(
    mask_name: str, pattern: CoupledUnits, stacks: Sequence[LayerStack], users: Sequence[Subnet]
) -> None:
    """Refuse a mask of layers where something else says which layers run.

    Args:
        mask_name: Name of the mask.
        pattern: Its pattern.
        stacks: The stacks of the network.
        users: The subnets that have it.

    Raises:
        ConfigError: If one of them has a depth, or left-out layers would keep their norms.
    """
    if LayerGroup.kind not in dict(pattern.kinds):
        return
    for subnet in users:
        if subnet.depth is not None:
            raise ConfigError(
                f"supernet_conf.subnets.{subnet.name}.depth: mask '{mask_name}' prunes layers, "
                "too; leave out the depth, or the kind layers"
            )
    if any(stack.keep_norm for stack in stacks):
        raise ConfigError(
            f"mask '{mask_name}' prunes layers, but encoder_conf.layerdrop_keep_norm keeps the "
            "norms of left-out ones, so that they could not be cut out; train without"
        )
