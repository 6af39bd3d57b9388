"""Encoders with units cut out against the dense one: parameters and time, on one CPU thread.

python tests/benchmarks/bench_structured.py
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch

from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.supernet import Supernet

KINDS = ["attention_heads", "linear_units", "convolution_channels"]


def cut(encoder: torch.nn.Module, sparsity: float) -> torch.nn.Module:
    """Return the encoder without a fraction of its units."""
    mask = {"pattern": {"structured": {"kinds": KINDS}}, "sparsity": sparsity}
    table = {"subnets": {"device": {"mask": mask}}, "schedule": {"kind": "one_shot", "begin": 0}}
    supernet = Supernet(encoder, SupernetConfig.parse(table))
    pruner = supernet.pruner()
    assert pruner is not None
    pruner.step_once()
    return supernet.extract("device").eval()


@torch.no_grad()
def seconds(encoder: torch.nn.Module, feats: torch.Tensor, context: Context | None) -> float:
    """CPU time of one pass over whole features, or of a stream of them."""
    start = time.process_time()
    if context is None:
        encoder(feats, torch.tensor([feats.size(1)]))
    else:
        state = encoder.init_state(context)
        step = 4 * (context.chunk_size or 1)
        for first in range(0, feats.size(1), step):
            _, state = encoder.stream(feats[:, first : first + step], state)
    return time.process_time() - start


def main() -> None:
    """Measure in turns and print medians of CPU time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--units", type=int, default=576)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--frames", type=int, default=1000, help="of 10 ms")
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.33, 0.5])
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def dense() -> torch.nn.Module:
        return SupernetConformerEncoder(80, args.size, args.heads, args.units, args.blocks).eval()

    encoders = {
        "dense": dense(),
        **{f"{100 * s:.0f} % cut": cut(dense(), s) for s in args.sparsity},
    }
    modes = {"whole": None, "stream, 640 ms": Context(chunk_size=16, left_context=32)}
    feats = torch.randn(1, args.frames, 80)
    times: dict[tuple[str, str], list[float]] = {(e, m): [] for e in encoders for m in modes}
    for turn in range(args.rounds + 1):
        for (name, mode), values in times.items():
            value = seconds(encoders[name], feats, modes[mode])
            if turn:  # the first is a warm-up
                values.append(value)
    print(f"{args.frames} frames, 1 thread, {platform.machine()}, torch {torch.__version__}")
    for name, encoder in encoders.items():
        size = sum(p.numel() for p in encoder.parameters())
        shown = ", ".join(f"{m} {1e3 * statistics.median(times[name, m]):.1f} ms" for m in modes)
        print(f"{name:>9}: {size} parameters; {shown}")


if __name__ == "__main__":
    main()
