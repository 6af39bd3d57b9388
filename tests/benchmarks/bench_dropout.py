"""Dropout by bytes against torch's, and the matrix product before it, on one CPU thread.

python tests/benchmarks/bench_dropout.py
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch

from espnet2_supernet.encoder.dropout import Dropout


def main() -> None:
    """Measure forward + backward in turns and print medians of CPU time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=2250)
    parser.add_argument("--units", type=int, default=576)
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.randn(args.frames, args.units, requires_grad=True)
    ours, theirs = Dropout(0.1), torch.nn.Dropout(0.1)
    linear = torch.nn.Linear(args.units // 4, args.units)
    inputs = torch.randn(args.frames, args.units // 4, requires_grad=True)
    cases: dict[str, Callable[[], torch.Tensor]] = {
        "dropout, one byte per number": lambda: ours(x),
        "torch.nn.Dropout": lambda: theirs(x),
        f"Linear({args.units // 4}, {args.units})": lambda: linear(inputs),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(args.rounds + 1):
        for name, case in cases.items():
            start = time.process_time()
            case().sum().backward()
            if turn:  # the first is a warm-up
                times[name].append(time.process_time() - start)
    print(
        f"({args.frames}, {args.units}), 1 thread, {platform.machine()}, torch {torch.__version__}"
    )
    for name, values in times.items():
        print(f"{statistics.median(values) * 1e3:7.2f} ms  {name}")


if __name__ == "__main__":
    main()
