"""Dropout that a CPU can afford."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from espnet2_supernet.errors import ConfigError

LEVELS = 256


class Dropout(nn.Module):
    """Inverted dropout; on a CPU one random byte decides about each number.

    Torch draws a random word for every element, which on one core of an EPYC takes more than half
    as long as the linear layer before it (``tests/benchmarks/bench_dropout.py``). Here
    the eight bytes of one 64-bit draw serve eight elements, so that the rate is rounded to a
    multiple of 1/256 (our choice). Other devices use torch's own dropout.

    Args:
        rate: Probability of a zero, from 0 to below 1.

    Raises:
        ConfigError: If the rate is out of range.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(f"encoder_conf: a dropout rate lies in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero numbers of ``x`` (any shape) at random in training, scale the others up."""
        return dropout(x, self.rate) if self.training else x

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


def dropout(x: Tensor, rate: float) -> Tensor:
    """:class:`Dropout` as a function, always in training.

    Args:
        x: Of any shape.
        rate: Probability of a zero, from 0 to below 1.
    """
    if rate == 0:
        return x
    if x.device.type != "cpu":
        return nn.functional.dropout(x, rate)
    dropped = min(max(round(rate * LEVELS), 1), LEVELS - 1)
    return _ByteDropout.apply(x, dropped)


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        noise = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        # bytes multiply faster than bools
        ctx.keep, ctx.scale = noise.ge(dropped).view(torch.uint8), LEVELS / (LEVELS - dropped)
        return x.mul(ctx.keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.mul(ctx.keep).mul_(ctx.scale), None
