"""Depthwise convolution over frames."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve every dimension with a kernel of its own, without padding.

    On a CPU the taps are summed one by one over contiguous frames; ``conv1d``, which wants the
    frames last, took 2.7 times as long on short chunks and 1.6 times on whole utterances (one
    core of an EPYC, ``tests/benchmarks/bench_chunk_pass.py``). Other devices use ``conv1d``.

    Args:
        x: ``(N, T, D)``.
        weight: ``(D, 1, k)``, as ``torch.nn.Conv1d`` with ``groups=D`` has it.
        bias: ``(D,)``, if any.

    Returns:
        ``(N, T - k + 1, D)``.
    """
    if x.device.type != "cpu":
        return F.conv1d(x.transpose(1, 2), weight, bias, groups=x.size(2)).transpose(1, 2)
    taps = weight[:, 0].t().to(x.dtype).contiguous()
    if torch.is_grad_enabled() and (x.requires_grad or taps.requires_grad):
        out: Tensor = _SumOfTaps.apply(x, taps)
    else:
        out = _sum_of_taps(x, taps)
    return out if bias is None else out + bias.to(x.dtype)


class _SumOfTaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        return _sum_of_taps(x, taps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, taps = ctx.saved_tensors
        grad_x, grad_taps = torch.zeros_like(x), torch.empty_like(taps)
        length = grad.size(1)
        for i, tap in enumerate(taps):
            grad_x[:, i : i + length].addcmul_(grad, tap)
            grad_taps[i] = (grad * x[:, i : i + length]).sum((0, 1))
        return grad_x, grad_taps


def _sum_of_taps(x: Tensor, taps: Tensor) -> Tensor:
    length = x.size(1) - taps.size(0) + 1
    out = x[:, :length] * taps[0]
    for i in range(1, taps.size(0)):
        out.addcmul_(x[:, i : i + length], taps[i])
    return out
