"""What a loss of the whole batch needs when the batch is shared out over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add a tensor up over all ranks, with gradients; the tensor itself in one process."""
    if not distributed.is_available() or not distributed.is_initialized():
        return values
    return _SumOverRanks.apply(values)


def gather_rows(values: Tensor) -> Tensor:
    """Collect the rows of all ranks, with gradients; ranks may have different numbers of rows.

    Each rank's rows are put at their place among zeros and the results are added up: one
    reduction serves any numbers of rows (our choice; an all-gather wants equal ones).

    Args:
        values: Rows of this rank ``(B, D)``.

    Returns:
        Rows of all ranks in the order of the ranks ``(N, D)``.
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return values
    sizes = torch.zeros(distributed.get_world_size(), dtype=torch.int64, device=values.device)
    rank = distributed.get_rank()
    sizes[rank] = len(values)
    distributed.all_reduce(sizes)
    first, total = int(sizes[:rank].sum()), int(sizes.sum())
    placed = torch.nn.functional.pad(values, (0, 0, first, total - first - len(values)))
    return sum_over_ranks(placed)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        distributed.all_reduce(total)
        return total
