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
) -> list[torch.Tensor]:
    """Choose the kept groups of several layers.

    The best group of every layer is always kept: a layer without any weight would cut the
    network (our choice).

    Args:
        scores: Group scores of every layer, each (G,).
        sizes: Group sizes of every layer, each (G,).
        sparsity: Wanted fraction of zeros.
        ranking: ``layer`` ranks within each layer, so all get the same sparsity; ``global``
            ranks all groups in one list, so layers with small weights lose more.

    Returns:
        Kept groups of every layer, bool (G,) each.
    """
    guarded = [layer.index_fill(0, layer.argmax(), torch.inf) for layer in scores]
    if ranking == "layer":
        return [keep_best(*layer, sparsity) for layer in zip(guarded, sizes, strict=True)]
    keep = keep_best(torch.cat(guarded), torch.cat(list(sizes)), sparsity)
    return list(keep.split([len(layer) for layer in guarded]))
