"""Ranking: which groups stay, given their scores and the wanted sparsity."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def keep_best(scores: torch.Tensor, sizes: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Prune the groups of lowest score until ``sparsity`` of all weights is gone.

    A group goes when at least half of it fits under the target, so the result is as near to the
    target as whole groups allow, whether they are equal or ragged. Ties go in order of position
    (a stable sort): every rank of a distributed run finds the same mask.

    Args:
        scores: Importance of every group (G,); infinity = never prune.
        sizes: Weights in every group (G,).
        sparsity: Wanted fraction of zeros, 0 to 1.

    Returns:
        Kept groups, bool (G,).

    Example:
        >>> scores = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0])
        >>> print(keep_best(scores, torch.ones(5), sparsity=0.4).int())
        tensor([1, 0, 1, 0, 1], dtype=torch.int32)
    """
    order = scores.argsort(stable=True)
    ordered = sizes[order].double()
    middles = ordered.cumsum(0) - ordered / 2  # pruned weights once half of this group is gone
    keep = torch.empty_like(scores, dtype=torch.bool)
    # The small excess lets a group that fits by exactly half go, whatever the rounding.
    keep[order] = middles > sparsity * ordered.sum() + 1e-6
    return keep | scores.isinf()


def rank_layers(
    scores: Sequence[torch.Tensor],
    sizes: Sequence[torch.Tensor],
    sparsity: float,
    ranking: str,
    kinds: Sequence[str] | None = None,
    min_kept: Sequence[int] | None = None,
) -> list[torch.Tensor]:
    """Choose the kept groups of several layers.

    Args:
        scores: Group scores of every layer, each (G,).
        sizes: Group sizes of every layer, each (G,).
        sparsity: Wanted fraction of zeros.
        ranking: ``layer`` ranks within each layer, so all get the same sparsity; ``global``
            ranks all groups in one list, so layers with small weights lose more; ``kind`` has a
            list for each kind of group.
        kinds: Kind of the groups of every layer; one kind if ``None``.
        min_kept: Best groups of every layer that are kept in any case; one if ``None``.

    Returns:
        Kept groups of every layer, bool (G,) each.
    """
    least = min_kept or [1] * len(scores)
    guarded = [guard_best(layer, n) for layer, n in zip(scores, least, strict=True)]
    kept: list[torch.Tensor] = [torch.empty(0)] * len(scores)
    for members in competitors(ranking, kinds or [""] * len(scores)):
        together = torch.cat([guarded[i] for i in members])
        keep = keep_best(together, torch.cat([sizes[i] for i in members]), sparsity)
        parts = keep.split([len(guarded[i]) for i in members])
        for i, part in zip(members, parts, strict=True):
            kept[i] = part
    return kept


def competitors(ranking: str, kinds: Sequence[str]) -> list[list[int]]:
    """Return which layers share a list, by their positions.

    Args:
        ranking: ``layer``, ``kind`` or ``global``.
        kinds: Kind of the groups of every layer.

    Example:
        >>> competitors("kind", ["heads", "units", "heads"])
        [[0, 2], [1]]
    """
    if ranking == "layer":
        return [[i] for i in range(len(kinds))]
    if ranking == "global":
        return [list(range(len(kinds)))]
    return [[i for i, one in enumerate(kinds) if one == kind] for kind in dict.fromkeys(kinds)]


def guard_best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return scores (G,) with infinity for the ``count`` best: they are never pruned."""
    best = scores.argsort(descending=True, stable=True)[:count]
    return scores.index_fill(0, best, torch.inf)
