"""Time and memory of the RNN-T losses on CPU, forward + backward, interleaved medians.

Run: python tests/benchmarks/bench_rnnt_loss.py [--threads N] [--rounds N] [--quick]

First table: the loss alone, on given logits. Second: joint network and loss together,
directly and in slices of several sizes, for a small and a large vocabulary.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from espnet2.asr_transducer.joint_network import JointNetwork
from torch import Tensor
from torchaudio.functional import rnnt_loss as torchaudio_loss

from espnet2_supernet.asr.losses.rnnt import rnnt_loss
from espnet2_supernet.asr.losses.transducer import transducer_loss


def peak_megabytes() -> float:
    """Peak resident memory of this process since :func:`reset_peak` (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def reset_peak() -> float:
    """Give freed memory back and forget the peak; returns the resident memory in MB."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak_megabytes()


def compare(cases: dict[str, Callable[[], None]], rounds: int) -> None:
    """Print the median time and the extra memory of each case, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    extra: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, run in cases.items():
            before, start = reset_peak(), time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
            extra[name] = peak_megabytes() - before
            if turn == 0:
                seconds[name].clear()  # compiles, loads, warms up
    for name, times in seconds.items():
        spread = f"{min(times) * 1e3:.0f}-{max(times) * 1e3:.0f}"
        print(
            f"  {name:32} {statistics.median(times) * 1e3:8.1f} ms ({spread}) {extra[name]:7.0f} MB"
        )


def lengths(batch: int, frames: int, labels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random targets of a batch without padding, and its lengths (int32)."""
    targets = torch.randint(1, 500, (batch, labels), dtype=torch.int32)
    t_lens = torch.full((batch,), frames, dtype=torch.int32)
    return targets, t_lens, torch.full((batch,), labels, dtype=torch.int32)


def bench_loss(batch: int, frames: int, labels: int, vocab: int, rounds: int) -> None:
    """The loss alone against torchaudio's."""
    print(f"loss alone: B{batch} T{frames} U{labels} V{vocab}")
    logits = torch.randn(batch, frames, labels + 1, vocab, requires_grad=True)
    args = lengths(batch, frames, labels)

    def ours() -> None:
        torch.autograd.grad(rnnt_loss(logits, *args).sum(), logits)

    def theirs() -> None:
        losses = torchaudio_loss(logits, *args, blank=0, reduction="none")
        torch.autograd.grad(losses.sum(), logits)

    compare({"espnet2_supernet": ours, "torchaudio": theirs}, rounds)


def bench_transducer(batch: int, frames: int, labels: int, vocab: int, rounds: int) -> None:
    """Joint network and loss, direct and sliced."""
    print(f"joint network (512) + loss: B{batch} T{frames} U{labels} V{vocab}")
    joint = JointNetwork(vocab, 512, 512, joint_space_size=512)
    enc = torch.randn(batch, frames, 512, requires_grad=True)
    pred = torch.randn(batch, labels + 1, 512, requires_grad=True)
    targets, t_lens, u_lens = lengths(batch, frames, labels)
    inputs = [enc, pred, *joint.parameters()]

    def run(limit: int | None) -> None:
        losses = transducer_loss(joint, enc, t_lens, pred, targets, u_lens, 0, limit)
        torch.autograd.grad(losses.sum(), inputs)

    limits = {"direct": None, "16 M cells": 1 << 24}
    compare({name: lambda limit=limit: run(limit) for name, limit in limits.items()}, rounds)


def main() -> None:
    """Run both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="only the loss alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{args.threads} thread(s), median of {args.rounds} (min-max), extra peak memory"
    )
    bench_loss(4, 200, 50, 500, args.rounds)
    if not args.quick:
        bench_transducer(4, 200, 100, 500, min(args.rounds, 3))
        bench_transducer(2, 100, 50, 4096, min(args.rounds, 3))


if __name__ == "__main__":
    main()
