"""Whether a sparsity can be reached with the units that have to stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.pattern import CoupledUnits
from espnet2_supernet.sparsity.prunable import Prunable
from espnet2_supernet.sparsity.ranking import competitors, keep_best
from espnet2_supernet.sparsity.spec import MaskSpec


def check_reachable(prunables: Sequence[Prunable], spec: MaskSpec, where: str) -> None:
    """Refuse a sparsity for which units would have to go that are to be kept in any case.

    Patterns of single matrices are not judged: their groups are many and small.

    Args:
        prunables: Groups of units.
        spec: Declaration of their mask.
        where: What the mask is called.

    Raises:
        ConfigError: Naming the units, and the sparsity that can be reached.
    """
    if not isinstance(spec.pattern, CoupledUnits):
        return
    for members in competitors(spec.ranking, [one.kind for one in prunables]):
        groups = [prunables[i] for i in members]
        sizes = torch.cat([group.group_sizes() for group in groups])
        kept = keep_best(torch.zeros(len(sizes), device=sizes.device), sizes, spec.sparsity)
        wanted = int(sizes[~kept].sum())
        largest = [one.group_sizes().sort(descending=True).values for one in groups]
        free = [len(one.group_sizes()) - one.min_kept for one in groups]
        most = sum(int(one[:n].sum()) for n, one in zip(free, largest, strict=True))
        if wanted > most:
            first = groups[0]
            others = f" and {len(groups) - 1} others" if len(groups) > 1 else ""
            raise ConfigError(
                f"{where}: sparsity {spec.sparsity:g} of {first.name}{others} leaves fewer than "
                f"min_kept {first.min_kept} {first.kind}; at most "
                f"{most / int(sizes.sum()):.3f} can be pruned: lower sparsity or min_kept, leave "
                "the kind out, or rank globally"
            )
