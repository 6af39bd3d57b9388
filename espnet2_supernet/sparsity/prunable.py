"""What a mask is written to: one matrix under a pattern, or units that span several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.gradients import Gradients
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import CoupledUnits, Pattern
from espnet2_supernet.sparsity.ranking import rank_layers
from espnet2_supernet.sparsity.score import Score

NamedLayer = tuple[str, MaskedLinear]


class Prunable(Protocol):
    """Groups of weights that live or die together, and the masks that say which live.

    Attributes:
        name: Path in the network.
        kind: Groups of one kind are alike; matrices under a pattern all have the kind ``""``.
        min_kept: Groups that pruning leaves in any case.
    """

    name: str
    kind: str
    min_kept: int

    @property
    def layers(self) -> dict[str, MaskedLinear]:
        """The matrices that the groups lie in, by path in the network."""
        ...

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every group."""
        ...

    def group_scores(self, score: Score, gradients: Gradients) -> torch.Tensor:
        """Mean score of the weights of every group, (G,); infinity = never prune."""
        ...

    def group_sizes(self) -> torch.Tensor:
        """Weights of every group, int64 (G,)."""
        ...

    def kept(self, name: str) -> torch.Tensor:
        """Kept groups of a mask, bool (G,)."""
        ...

    def keep(self, name: str, keep: torch.Tensor) -> None:
        """Write a mask from kept groups, bool (G,)."""
        ...

    def relax(self, name: str, on: bool) -> None:
        """Leave a mask out in training from now on, or apply it again."""
        ...

    def check(self, name: str, final: bool = False) -> None:
        """Refuse a mask that is not made of whole groups; see :meth:`Pattern.check`."""
        ...


class Cuttable(Prunable, Protocol):
    """Groups that can be cut out of the network, too.

    Attributes:
        count: Number U of groups.
    """

    count: int

    def pruned_besides(self, name: str) -> int:
        """Biases, norms and kernels that go with the matrices when a mask is cut out."""
        ...

    def cut(self, keep: torch.Tensor) -> None:
        """Drop groups for good, and keep some, bool (U,); masks must be gone."""
        ...


def check_min_kept(group: Cuttable, keep: torch.Tensor) -> None:
    """Refuse a mask that keeps too few groups, bool (U,).

    Raises:
        ConfigError: Naming what is pruned.
    """
    if int(keep.sum()) < group.min_kept:
        raise ConfigError(
            f"{group.name}: {int(keep.sum())} of {group.count} {group.kind} are kept, at least "
            f"{group.min_kept} must be"
        )


class PrunableLayer:
    """One matrix under a pattern.

    Args:
        name: Path of the layer.
        layer: The layer, with the masks that will be asked for.
        pattern: Which of its weights form a group.
    """

    kind = ""
    min_kept = 1  # a layer without any weight would cut the network (our choice)

    def __init__(self, name: str, layer: MaskedLinear, pattern: Pattern) -> None:
        self.name, self.layer, self.pattern = name, layer, pattern

    @property
    def layers(self) -> dict[str, MaskedLinear]:
        """The layer."""
        return {self.name: self.layer}

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every weight."""
        self.layer.add_mask(name, self.pattern)

    def group_scores(self, score: Score, gradients: Gradients) -> torch.Tensor:
        """Scores by the pattern, (G,)."""
        return self.pattern.group_scores(score(self.layer.weight, gradients.get(self.name)))

    def group_sizes(self) -> torch.Tensor:
        """Sizes by the pattern, (G,)."""
        return self.pattern.group_sizes(self._shape, self.layer.weight.device)

    def kept(self, name: str) -> torch.Tensor:
        """Kept groups, bool (G,); for patterns whose group scores are means."""
        return self.pattern.group_scores(self.layer.mask(name).float()) > 0

    def keep(self, name: str, keep: torch.Tensor) -> None:
        """Write a mask, in place: DistributedDataParallel and the optimiser hold the tensor."""
        self.layer.mask(name).copy_(self.pattern.expand(keep, self._shape))

    def relax(self, name: str, on: bool) -> None:
        """Leave a mask out in training from now on, or apply it again."""
        set_relaxed(self.layer, name, on)

    def check(self, name: str, final: bool = False) -> None:
        """Refuse a mask that is not of the pattern."""
        self.pattern.check(self.layer.mask(name), final=final)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.layer.out_features, self.layer.in_features


def as_prunables(
    pattern: Pattern | CoupledUnits, given: Sequence[Prunable | NamedLayer]
) -> list[Prunable]:
    """Turn layers with their names into prunables of a pattern; leave prunables as they are."""
    some: Any = pattern
    return [PrunableLayer(*one, some) if isinstance(one, tuple) else one for one in given]


def layers_of(prunables: Iterable[Prunable]) -> dict[str, MaskedLinear]:
    """Return the matrices of several prunables, by path in the network."""
    return {path: layer for one in prunables for path, layer in one.layers.items()}


def keep_best_groups(
    prunables: Sequence[Prunable],
    name: str,
    scores: Sequence[torch.Tensor],
    sparsity: float,
    ranking: str,
) -> None:
    """Write a mask that keeps the best groups; see :func:`rank_layers` for the arguments."""
    sizes = [one.group_sizes() for one in prunables]
    kinds, least = [one.kind for one in prunables], [one.min_kept for one in prunables]
    kept = rank_layers(scores, sizes, sparsity, ranking, kinds, least)
    for one, keep in zip(prunables, kept, strict=True):
        one.keep(name, keep)


def set_relaxed(module: Any, name: str, on: bool) -> None:
    """Leave a mask of one module out in training, or apply it again."""
    (module.relaxed_masks.add if on else module.relaxed_masks.discard)(name)


@torch.no_grad()
def zero_pruned(prunables: Sequence[Prunable], name: str) -> None:
    """Set the weights that a mask prunes to zero, in place."""
    for one in prunables:
        for layer in one.layers.values():
            layer.weight.mul_(layer.mask(name))


def report_sparsity(
    prunables: Sequence[Prunable], name: str, total_weights: int | None = None
) -> dict[str, float]:
    """Return the present sparsity of a mask.

    Args:
        prunables: What the mask is written to.
        name: Its name.
        total_weights: Weights of the whole network; prunable weights only if ``None``.

    Returns:
        By name of a prunable the fraction of zeros; ``prunable`` over all of them; ``total``.
    """
    zeros, sizes, report = 0, 0, {}
    for one in prunables:
        masks = [layer.mask(name) for layer in one.layers.values()]
        size = sum(mask.numel() for mask in masks)
        pruned = size - sum(int(mask.sum()) for mask in masks)
        report[one.name] = pruned / size
        zeros, sizes = zeros + pruned, sizes + size
    return {**report, "prunable": zeros / sizes, "total": zeros / (total_weights or sizes)}
