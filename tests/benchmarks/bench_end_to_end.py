"""Compares what turns samples into tokens: torch, torch int8, OpenVINO int8, and our runtime.

    python tests/benchmarks/bench_end_to_end.py --chunk_sizes 16 8 4
    python tests/benchmarks/bench_end_to_end.py --encoder conformer --rows torch_fp32 runtime_int8

A random encoder of 12 blocks of 512/2048 under random block masks; the torch and OpenVINO rows
compute its dense weights. Rows take turns utterance by utterance on one core. Prints the tables of
RESULTS.md for each chunk size, and how many times faster than torch fp32 each row is per chunk
(medians, CPU time, and wall clock for a machine that does nothing else). Zeros are random: masks of
a trained model are less even. The sounds are noise: OpenVINO's accuracy says nothing here.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from espnet2_supernet.compat import quiet

quiet()

from espnet2_supernet.decode.speech2text import Speech2Text  # noqa: E402
from espnet2_supernet.measure.int8 import quantized  # noqa: E402
from espnet2_supernet.measure.machine import pinned, quiet_core  # noqa: E402
from espnet2_supernet.measure.openvino_engine import in_openvino  # noqa: E402
from espnet2_supernet.measure.rows import NotMeasured, RowSpec  # noqa: E402
from espnet2_supernet.measure.run import Plan, Utterance, measure  # noqa: E402
from espnet2_supernet.measure.runtime_engine import runtime_engine  # noqa: E402
from espnet2_supernet.measure.torch_engines import torch_engine  # noqa: E402
from espnet2_supernet.report.speed import SpeedReport, SpeedRow  # noqa: E402
from espnet2_supernet.report.speed_table import speed_section  # noqa: E402
from espnet2_supernet.runtime.bundle import write_bundle  # noqa: E402
from espnet2_supernet.sparsity.linear import MaskedLinear  # noqa: E402
from espnet2_supernet.supernet.context import Context  # noqa: E402
from espnet2_supernet.tasks.bundling import Origin, make_bundle  # noqa: E402

BLOCKS = {"fp32": (16, 1), "int8": (8, 4)}
ROWS = ("torch_fp32", "torch_int8", "openvino_int8", "runtime_fp32", "runtime_int8")


def random_model(args):
    """Build the model with a dense subnet and one for each kind of block."""
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
    from espnet2_supernet.features.log_mel import LogMelFrontend

    torch.manual_seed(0)
    kinds = {"transformer": SupernetTransformerEncoder, "conformer": SupernetConformerEncoder}
    encoder = kinds[args.encoder](80, args.size, args.heads, args.units, args.blocks)
    tokens = ["<blank>", "<unk>", *(f"▁{i}" for i in range(497)), "<sos/eos>"]
    context = {"chunk_size": args.chunk_sizes[0], "left_context": args.left_context}
    subnets = {"dense": {"context": context}}
    for precision, block in BLOCKS.items():
        mask = {"pattern": {"block": list(block)}, "sparsity": args.sparsity}
        subnets[precision] = {"context": context, "mask": mask}
    model = SupernetASRModel(
        len(tokens), tokens, LogMelFrontend(), None, None, None, encoder, None, None,
        CTC(len(tokens), args.size), None, {"subnets": subnets}, 1.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    for layer in model.encoder.modules():
        if isinstance(layer, MaskedLinear):
            for precision, (rows, columns) in BLOCKS.items():
                if precision in layer.patterns:
                    mask = layer.mask(precision)
                    shape = (mask.size(0) // rows, mask.size(1) // columns)
                    keep = torch.rand(shape, generator=generator) >= args.sparsity
                    mask.copy_(keep.repeat_interleave(rows, 0).repeat_interleave(columns, 1))
    return model.eval()


def make_rows(args, model, context, folder, waves):
    """Load the rows that were asked for and can be had."""
    dense = Speech2Text.from_model(model, "dense", context, True, use="ctc")
    rows = []
    for name in args.rows:
        try:
            if name == "torch_fp32":
                engine = torch_engine(dense, name)
            elif name == "torch_int8":
                engine = torch_engine(quantized(dense), name, precision="int8")
            elif name == "openvino_int8":
                path = folder / f"openvino_{context.chunk_size}.onnx"
                engine = in_openvino(dense, name, path, waves)
            else:
                precision = name.removeprefix("runtime_")
                bundle = make_bundle(
                    model, precision, context, precision, None, Origin("", ""), True
                )
                place = folder / f"{precision}_{context.chunk_size}"
                place.mkdir()
                write_bundle(place, bundle)
                engine = runtime_engine(RowSpec("runtime", str(place), {"use": "ctc"}))
        except NotMeasured as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        rows.append((RowSpec(name, str(folder)), engine))
    return rows


def main():
    """Measure every chunk size and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="transformer", choices=("transformer", "conformer"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--chunk_sizes", type=int, nargs="+", default=[16])
    parser.add_argument("--left_context", type=int, default=64)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.5, help="of each")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, rng = random_model(args), np.random.default_rng(0)
    waves = [
        (0.1 * rng.standard_normal(int(16000 * args.seconds))).astype(np.float32)
        for _ in range(args.utterances)
    ]
    utterances = [Utterance(str(i), Path(), wave) for i, wave in enumerate(waves)]
    with tempfile.TemporaryDirectory() as name:
        for chunk in args.chunk_sizes:
            context, core = Context(chunk, args.left_context), quiet_core()
            with pinned(core):  # from the start: OpenVINO starts its thread when it compiles
                rows = make_rows(args, model, context, Path(name), waves[:2])
                result = measure(rows, utterances, Plan(args.repeats, core, 0))
            found = [SpeedRow(row["label"], row) for row in result["rows"]]
            about = {**result, "date": f"chunk {chunk} ({40 * chunk} ms)"}
            print("\n".join(speed_section([SpeedReport(Path(), found, result["machine"], about)])))
            report_factors(found)


def report_factors(rows):
    """Print how many times faster than torch fp32 every row is."""
    base = next((row for row in rows if row.label == "torch_fp32"), None)
    for row in rows if base is not None else ():
        factors = [
            base.number("chunk_ms", clock, "median") / row.number("chunk_ms", clock, "median")
            for clock in ("cpu", "wall")
        ]
        print(f"{row.label}: {factors[0]:.2f} (CPU), {factors[1]:.2f} (wall) times torch_fp32")


if __name__ == "__main__":
    main()
