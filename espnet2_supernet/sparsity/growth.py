"""Prune and grow: kept groups of low score change places with pruned ones of large gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.effective import EffectiveGradients
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.prunable import Prunable, layers_of
from espnet2_supernet.sparsity.ranking import competitors, guard_best
from espnet2_supernet.sparsity.score import Score, get_score
from espnet2_supernet.sparsity.spec import MaskSpec


class Growth(nn.Module):
    """What a pruner needs to swap groups: gradients of ``W * m``, and perhaps the first weights.

    Args:
        prunables: By name of a mask what it is written to.
        specs: By name of a mask its declaration.
        growth: ``kept``, ``zero`` or ``initial``; see :class:`ScheduleSpec`.

    Raises:
        ConfigError: If the groups of a mask cannot be swapped.
    """

    def __init__(
        self,
        prunables: Mapping[str, Sequence[Prunable]],
        specs: Mapping[str, MaskSpec],
        growth: str,
    ) -> None:
        super().__init__()
        for name, spec in specs.items():
            _check_growth(name, spec, prunables[name])
        self._prunables, self.growth = prunables, growth
        layers = {name: layers_of(some) for name, some in prunables.items()}
        self.effective = EffectiveGradients(layers)
        # One copy of each layer, whatever the number of masks
        self._layers = {key: layer for some in layers.values() for key, layer in some.items()}
        if growth == "initial":
            for key, layer in self._layers.items():
                self.register_buffer(_key(key), layer.weight.detach().clone())

    @torch.no_grad()
    def remember(self) -> None:
        """Take the present weights for the initial ones."""
        if self.growth == "initial":
            for key, layer in self._layers.items():
                self.get_buffer(_key(key)).copy_(layer.weight)

    @torch.no_grad()
    def swap(
        self,
        name: str,
        spec: MaskSpec,
        fraction: float,
        score: Score,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """Drop kept groups of lowest score, grow as many pruned ones of largest gradient.

        Groups change places within a layer (ranking ``layer``), or with those of the same kind
        anywhere (``kind``, ``global``): kinds differ in size, so a swap between them would change
        the sparsity (our choice). A group that goes does not come back in the same update.

        Args:
            name: Name of the mask.
            spec: Its declaration.
            fraction: Fraction of the kept groups to swap.
            score: The score to drop by; it must not need gradients.
            optimizer: Its moments of grown weights that are written anew start from zero.
        """
        prunables, grown = self._prunables[name], get_score("gradient")
        sums = self.effective.of(name)
        keeps = [one.kept(name) for one in prunables]
        drop = [one.group_scores(score, sums) for one in prunables]
        grow = [one.group_scores(grown, sums) for one in prunables]
        least = [one.min_kept for one in prunables]
        before = {key: layer.mask(name).clone() for key, layer in self._named(name)}
        ranking = "kind" if spec.ranking == "global" else spec.ranking
        for members in competitors(ranking, [one.kind for one in prunables]):
            new = swap_groups(
                [keeps[i] for i in members],
                [drop[i] for i in members],
                [grow[i] for i in members],
                [least[i] for i in members],
                fraction,
            )
            for i, keep in zip(members, new, strict=True):
                prunables[i].keep(name, keep)
        for key, layer in self._named(name):
            self._start(key, layer, layer.mask(name) & ~before[key], name, optimizer)

    def _named(self, name: str) -> list[tuple[str, MaskedLinear]]:
        return [item for one in self._prunables[name] for item in one.layers.items()]

    def _start(
        self,
        key: str,
        layer: MaskedLinear,
        grown: torch.Tensor,
        name: str,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """Write the first weights of what has grown."""
        # A unit with zeros on both sides would have no gradient: only its readers start from 0
        if self.growth == "kept" or (self.growth == "zero" and name in layer.unread_masks):
            return
        weight = layer.weight
        first = self.get_buffer(_key(key)) if self.growth == "initial" else torch.zeros_like(weight)
        weight.copy_(torch.where(grown, first, weight))
        _forget(optimizer, weight, grown)
        if self.growth == "zero" and name in layer.bias_masks and layer.bias is not None:
            layer.bias.masked_fill_(grown[:, 0], 0)
            _forget(optimizer, layer.bias, grown[:, 0])


def _forget(
    optimizer: torch.optim.Optimizer | None, parameter: torch.Tensor, where: torch.Tensor
) -> None:
    """Set the moments of some entries of a parameter to zero, in place."""
    for value in optimizer.state[parameter].values() if optimizer is not None else ():
        if torch.is_tensor(value) and value.shape == parameter.shape:
            value.masked_fill_(where, 0)


def swap_groups(
    keeps: Sequence[torch.Tensor],
    drop: Sequence[torch.Tensor],
    grow: Sequence[torch.Tensor],
    min_kept: Sequence[int],
    fraction: float,
) -> list[torch.Tensor]:
    """Choose the kept groups of layers that share a list; their number stays the same.

    Args:
        keeps: Kept groups of every layer, bool (G,).
        drop: Scores, of which the lowest go, (G,).
        grow: Scores, of which the highest come, (G,).
        min_kept: Groups of every layer that stay in any case.
        fraction: Fraction of the kept groups to swap.

    Returns:
        Kept groups of every layer, bool (G,) each.

    Example:
        >>> kept, score = torch.tensor([1, 1, 1, 0, 0]).bool(), torch.tensor([3.0, 1, 2, 0, 0])
        >>> swap_groups([kept], [score], [torch.tensor([9.0, 9, 9, 1, 2])], [1], 0.34)[0].int()
        tensor([1, 0, 1, 0, 1], dtype=torch.int32)
    """
    pruned_first = [
        torch.where(keep, one, -torch.inf) for keep, one in zip(keeps, drop, strict=True)
    ]
    guarded = [guard_best(one, n) for one, n in zip(pruned_first, min_kept, strict=True)]
    keep, scores = torch.cat(list(keeps)), torch.cat(guarded)
    free = keep & scores.isfinite()
    count = round(fraction * int(keep.sum()))
    count = min(count, int(free.sum()), int((~keep).sum()))
    going = torch.where(free, scores, torch.inf).argsort(stable=True)[:count]
    wanted = torch.where(keep, -torch.inf, torch.cat(list(grow)))
    coming = wanted.argsort(descending=True, stable=True)[:count]
    new = keep.index_fill(0, going, False).index_fill(0, coming, True)
    return list(new.split([len(one) for one in keeps]))


def _check_growth(name: str, spec: MaskSpec, prunables: Sequence[Prunable]) -> None:
    """Refuse a mask whose groups cannot be swapped.

    Args:
        name: Name of the mask.
        spec: Its declaration.
        prunables: What it is written to.

    Raises:
        ConfigError: If the pattern fixes how many weights a run keeps, or scores and gradients are
            not known for pruned and kept groups alike.
    """
    where = f"mask '{name}'"
    for one in prunables:
        if all(name in layer.unread_masks for layer in one.layers.values()):
            raise ConfigError(
                f"{where}: schedule prune_and_grow cannot grow {one.kind}: pruned ones are not "
                "computed, so that they have no gradient; choose one_shot, constant or cubic"
            )
    if isinstance(spec.pattern, NM):
        raise ConfigError(f"{where}: schedule prune_and_grow cannot swap groups of pattern n_m")
    if get_score(spec.score).needs_gradient:
        raise ConfigError(
            f"{where}: schedule prune_and_grow drops by magnitude; score: {spec.score} is not "
            "needed, gradients choose what grows"
        )


def _key(layer_name: str) -> str:
    return "initial_" + layer_name.replace(".", "/")  # a buffer name has no dots
