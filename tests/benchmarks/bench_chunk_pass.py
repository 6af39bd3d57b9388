"""Pieces of the chunked pass against their plain torch forms, on one CPU thread.

    python tests/benchmarks/bench_chunk_pass.py

windows        a chunk behind its left context: one function, or Tensor.unfold and torch.cat
depthwise      a convolution over chunks with their halo: sum of taps, or torch.nn.Conv1d
rotary         rotation of keys by halves of whole rows, or head by head

Forward and backward of each, in turns in one process; medians of CPU time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from espnet2_supernet.encoder.depthwise import depthwise_conv
from espnet2_supernet.encoder.rotary import rotary_tables, rotate
from espnet2_supernet.encoder.windows import windows

Case = Callable[[], Tensor]


def window_cases(batch: int, chunks: int, chunk: int, left: int, dim: int) -> tuple[Case, Case]:
    """Windows by our function and by torch."""
    x = torch.randn(batch, chunks, chunk, dim, requires_grad=True)
    past = torch.zeros(batch, left, dim)

    def plain() -> Tensor:
        frames = torch.cat([past, x.flatten(1, 2)], dim=1)
        before = frames.unfold(1, left, chunk)[:, :chunks].transpose(2, 3)
        return torch.cat([before, x], dim=2)

    return lambda: windows(x, past, chunk), plain


def depthwise_cases(batch: int, frames: int, dim: int, kernel: int) -> tuple[Case, Case]:
    """The convolution by our function and by torch."""
    x = torch.randn(batch, frames + kernel - 1, dim, requires_grad=True)
    conv = torch.nn.Conv1d(dim, dim, kernel, groups=dim)
    assert conv.bias is not None
    weight, bias = conv.weight, conv.bias
    return (
        lambda: depthwise_conv(x, weight, bias),
        lambda: conv(x.transpose(1, 2)).transpose(1, 2),
    )


def rotary_cases(batch: int, frames: int, heads: int, dim: int) -> tuple[Case, Case]:
    """The rotation by our function and in its textbook form."""
    x = torch.randn(batch, frames, heads * dim, requires_grad=True)
    cos, sin = rotary_tables(torch.arange(frames), heads, dim)

    def plain() -> Tensor:
        c, s = cos[:, None, : dim // 2], -sin[:, None, : dim // 2]
        first, second = x.unflatten(-1, (heads, dim)).chunk(2, dim=-1)
        return torch.cat([first * c - second * s, first * s + second * c], dim=-1).flatten(2)

    return lambda: rotate(x, cos, sin, heads), plain


def milliseconds(case: Case) -> float:
    """CPU time of a forward and a backward pass."""
    start = time.process_time()
    out = case()
    out.backward(torch.ones_like(out))
    return 1000 * (time.process_time() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = {
        "windows, 8 x 24 chunks of 16, left 64, D 144": window_cases(8, 24, 16, 64, 144),
        "depthwise 15, 192 chunks of 16, D 144": depthwise_cases(192, 16, 144, 15),
        "depthwise 15, 8 utterances of 375, D 144": depthwise_cases(8, 375, 144, 15),
        "rotary, 8 x 375 frames, 4 heads of 36": rotary_cases(8, 375, 4, 36),
    }
    print(f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}")
    for name, (ours, plain) in cases.items():
        torch.testing.assert_close(ours(), plain(), atol=1e-5, rtol=1e-4)
        pairs = [(milliseconds(ours), milliseconds(plain)) for _ in range(args.rounds)]
        ratio = statistics.median(b / a for a, b in pairs)
        fast, slow = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}: {fast:.2f} ms, plain torch {slow:.2f} ms, {ratio:.1f} times")


if __name__ == "__main__":
    main()
