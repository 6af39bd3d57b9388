"""Writes one subnet as ONNX graphs, for runtimes other than ours.

    python -m espnet2_supernet.bin.export_onnx --asr_model_file exp/asr/valid.loss.ave.pth \
        --subnet device --output_dir exp/asr/onnx_device --wav_scp dump/raw/dev/wav.scp

A full-context subnet becomes a graph for whole utterances, a streaming one a step that takes the
caches as inputs and gives the next ones as outputs. Zeros of a sparse subnet are written as
zeros. The graphs are run in onnxruntime and compared with PyTorch before they are declared written.
They say in metadata_props what features they want; features.onnx computes these from samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._extraction import (
    add_extraction_options,
    check_extraction,
    load_source,
    read_waveforms,
)
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser("export_onnx", __doc__, as_written=True)
    parser.add_argument("--print_config", action=PrintConfig)
    add_extraction_options(parser)
    parser.add_argument("--chunk_size", type=int, help="encoder frames; default: the subnet's")
    parser.add_argument("--left_context", type=int, help="encoder frames")
    parser.add_argument("--right_context", type=int, help="encoder frames")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Export a subnet.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        ConfigError: If the subnet or its context cannot be used or a package is not installed.
        CheckpointError: If the weights cannot be read, or a graph differs from PyTorch.
        DataError: If ``--wav_scp`` cannot be read.
    """
    args = get_parser().parse_args(cmd)
    check_extraction(args)
    from espnet2_supernet.decode.options import merge_context
    from espnet2_supernet.export.subnet_files import export

    model, options = load_source(args)
    names = ("chunk_size", "left_context", "right_context")
    wish = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    row = model.supernet.subnet(args.subnet)
    context = row.resolve(merge_context(row.context, wish or None))
    waveforms = read_waveforms(args, model)
    if min(map(len, waveforms)) < model.frontend.fs // 10:
        raise DataError(f"{args.wav_scp}: the utterances to compare on must be 0.1 s or longer")
    folder = Path(args.output_dir)
    found = export(model, options, args.subnet, context, folder, waveforms)
    told = ", ".join(f"{name} {difference:.1e}" for name, difference in found.items())
    words = context.in_frames()
    print(
        f"{folder}: subnet '{args.subnet}' ({words}{'' if context.is_full else ' frames'})"
        f"; largest difference to PyTorch on {len(waveforms)} waveforms: {told}"
    )


if __name__ == "__main__":
    run_main(main)
