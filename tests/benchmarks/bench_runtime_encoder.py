"""The chunk step of the runtime against torch's dense ones, on one CPU thread.

    python tests/benchmarks/bench_runtime_encoder.py --chunk_size 16 --sparsity 0.7

Encoders of one size with random weights and random masks take turns in one process: dense torch
(float32, and with dynamic int8 layers), the runtime with float32 and int8 blocks. With ``--cold``
every variant rotates over so many encoders that no cache holds them all. Printed are CPU times of
one chunk behind the subsampling, the ratios of their medians, and the share of the limit: what
the products of the kept weights would take at ``--peaks`` and ``--bandwidth``, attention and norms
not counted, over the least time measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.layouts import Layouts
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription, matrix_shapes
from espnet2_supernet.runtime.encoder.step import EncoderStep
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.supernet.context import Context

KINDS = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}
VARIANTS = ("fp32 16x1", "fp32 8x1", "int8 8x4", "int8 16x4")
Step = Callable[[], None]


def dense_encoder(args: argparse.Namespace) -> nn.Module:
    """A dense encoder with random weights."""
    options = {"cnn_module_kernel": args.kernel} if args.kind == "conformer" else {}
    encoder = KINDS[args.kind](
        80, args.size, args.heads, args.units, args.blocks, subsampling="stack", **options
    )
    return encoder.eval()


def torch_step(encoder: nn.Module, args: argparse.Namespace) -> Step:
    """One chunk through the blocks of a torch encoder."""
    context = Context(args.chunk_size, args.left_context, args.right_context)
    state = encoder.init_state(context)
    span = args.chunk_size + args.right_context
    frames, blocks = torch.randn(1, span, args.size), state.blocks
    layout = ChunkLayout.for_context(context, torch.tensor([span]), args.chunk_size)
    layout = layout.after(args.chunk_size * 100)

    def step() -> None:
        nonlocal blocks
        with torch.inference_mode():
            _, blocks = encoder.encode_chunks(frames, Layouts(layout), blocks)

    return step


def int8_encoder(encoder: nn.Module) -> nn.Module:
    """The same encoder with torch's dynamic int8 layers."""
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MaskedLinear):
                plain = nn.Linear(child.in_features, child.out_features)
                plain.load_state_dict(child.state_dict())
                setattr(module, name, plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch will move this elsewhere
        quantize = torch.ao.quantization.quantize_dynamic
        encoder.blocks = quantize(encoder.blocks, {nn.Linear}, dtype=torch.qint8)
    return encoder


def runtime_step(variant: str, args: argparse.Namespace, seed: int) -> tuple[Step, float, float]:
    """One chunk of the runtime, its kept weights and their bytes."""
    rng = np.random.default_rng(seed)
    kind, size = variant.split()
    block = tuple(int(part) for part in size.split("x"))
    encoder = dense_encoder(args)
    description = {
        "kind": args.kind,
        "size": args.size,
        "heads": args.heads,
        "linear_units": args.units,
        "num_blocks": args.blocks,
        "chunk_size": args.chunk_size,
        "left_context": args.left_context,
        "right_context": args.right_context,
        "kernel": args.kernel if args.kind == "conformer" else 1,
    }
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    kept = size_of = 0.0
    for name, (rows, columns) in matrix_shapes(EncoderDescription.from_dict(description)).items():
        scores = rng.random((rows // block[0], columns // block[1]))
        scores *= rng.lognormal(0.0, args.uneven, (len(scores), 1))
        keep = scores >= np.quantile(scores, args.sparsity)
        mask = keep.repeat(block[0], 0).repeat(block[1], 1)
        matrix = BlockMatrix.from_dense(weights[name] * mask, block)
        matrix = matrix.quantize() if kind == "int8" else matrix
        weights[name] = matrix
        kept += matrix.values.size
        size_of += matrix.values.nbytes + matrix.indices.nbytes
    runtime = EncoderStep(description, weights, num_threads=args.threads)
    state = runtime.init_state()
    frames = rng.standard_normal((runtime.span, args.size)).astype(np.float32)

    def step() -> None:
        runtime.step(frames, len(frames), state)

    return step, kept, size_of


def measure(steps: dict[str, list[Step]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every variant's chunks, in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name, copies in steps.items():
            step = copies[turn % len(copies)]
            start = time.thread_time()
            step()
            if turn >= len(copies):  # the first ones compile and warm up
                times[name].append(time.thread_time() - start)
    return times


def limit(variant: str, kept: float, size: float, args: argparse.Namespace) -> float:
    """Seconds that the products of a chunk take at the peak or at the bandwidth."""
    peak = args.peaks[0 if variant.startswith("fp32") else 1] * 1e9
    frames = args.chunk_size + args.right_context
    return max(2 * kept * frames / peak, size / (args.bandwidth * 1e9))


def cpu_name() -> str:
    """Name of the CPU as the system gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown CPU"


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=KINDS, default="transformer")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--kernel", type=int, default=15, help="of the conformer's convolution")
    parser.add_argument("--chunk_size", type=int, default=16)
    parser.add_argument("--left_context", type=int, default=64)
    parser.add_argument("--right_context", type=int, default=0)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument(
        "--uneven", type=float, default=0.0,
        help="log deviation of the rows' sizes before pruning; 0.1 to 0.2 makes masks as uneven as "
        "those of the AN4 recipe, where rows keep 1 +- 0.17 of the mean, in the worst layer 0.44",
    )  # fmt: skip
    parser.add_argument("--variants", nargs="*", default=VARIANTS, help="such as 'int8 8x4'")
    parser.add_argument("--no_torch", action="store_true", help="measure the runtime only")
    parser.add_argument("--cold", type=int, default=1, help="encoders that take turns")
    parser.add_argument("--threads", type=int, default=1, help="of the runtime")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--peaks", type=float, nargs=2, default=[230, 815], help="GFLOP/s, GOP/s")
    parser.add_argument("--bandwidth", type=float, default=33.0, help="GB/s of the main memory")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = parse()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps: dict[str, list[Step]] = {}
    if not args.no_torch:
        steps["torch fp32"] = [torch_step(dense_encoder(args), args)]
        steps["torch int8"] = [torch_step(int8_encoder(dense_encoder(args)), args)]
    limits = {}
    for variant in args.variants:
        built = [runtime_step(variant, args, seed) for seed in range(args.cold)]
        steps[variant] = [step for step, *_ in built]
        limits[variant] = (limit(variant, built[0][1], built[0][2], args), built[0][2])
    times = measure(steps, args.rounds + args.cold)
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(f"{cpu_name()}, torch {torch.__version__}, {args.threads} thread(s) of the runtime")
    print(f"{args.kind} {args.blocks} x {args.size}/{args.units}, C {args.chunk_size}, "
          f"L {args.left_context}, R {args.right_context}, sparsity {args.sparsity}, "
          f"{args.cold} encoder(s) in turn")  # fmt: skip
    print(f"{'CPU ms of a chunk':<18}{'least':>8}{'median':>8}{'MB':>7}{'x fp32':>8}{'x int8':>8}"
          f"{'of limit':>9}")  # fmt: skip
    for name, found in times.items():
        line = f"{name:<18}{min(found) * 1e3:8.2f}{middle[name] * 1e3:8.2f}"
        bound, size = limits.get(name, (0.0, 0.0))
        line += f"{size / 1e6:7.1f}" if size else " " * 7
        for base in ("torch fp32", "torch int8"):
            line += f"{middle[base] / middle[name]:8.1f}" if base in middle else " " * 8
        print(line + (f"{bound / min(found):9.0%}" if bound else ""))


if __name__ == "__main__":
    main()
