"""Writes one streaming subnet as a bundle for devices without torch.

    python -m espnet2_supernet.bin.bundle \
        --asr_model_file exp/asr/valid.loss.ave.pth --subnet device --precision int8 \
        --wav_scp dump/raw/train_dev/wav.scp --output_dir exp/asr/bundle_device_int8

The bundle is read back and compared with its source, streamed, before it is declared written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._extraction import (
    add_extraction_options,
    check_extraction,
    load_source,
    read_waveforms,
)
from espnet2_supernet.bin._options import PrintConfig, command_parser


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser(
        "bundle", "Write one streaming subnet as a bundle for devices without torch."
    )
    parser.add_argument("--print_config", action=PrintConfig)
    add_extraction_options(parser)
    parser.add_argument(
        "--precision", default="fp32", choices=("fp32", "int8"), help="of the matrices"
    )
    parser.add_argument("--chunk_size", type=int, help="Encoder frames; default: the subnet's")
    parser.add_argument("--left_context", type=int, help="Encoder frames; default: the subnet's")
    parser.add_argument("--right_context", type=int, help="Encoder frames; default: the subnet's")
    parser.add_argument(
        "--allow_untrained",
        action="store_true",
        help="Accept a context or a mask that was not trained to the end",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Write a bundle.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        ConfigError: If the subnet, its context or a pattern cannot be used.
        CheckpointError: If the weights cannot be read, or the bundle differs from its source.
        DataError: If ``--wav_scp`` cannot be read.
    """
    args = get_parser().parse_args(cmd)
    check_extraction(args)
    from espnet2_supernet.decode.options import CONTEXT_KEYS, merge_context
    from espnet2_supernet.tasks import bundle_writer, bundling

    model, options = load_source(args)
    given = {key: getattr(args, key) for key in CONTEXT_KEYS if getattr(args, key) is not None}
    default = model.supernet.subnet(args.subnet).context
    bundle = bundling.make_bundle(
        model,
        args.subnet,
        merge_context(default, given or None),
        args.precision,
        getattr(options, "token_type", None),
        bundling.Origin.of(args.asr_train_config, args.asr_model_file),
        args.allow_untrained,
    )
    output_dir = Path(args.output_dir)
    waveforms = read_waveforms(args, model)
    summary = bundle_writer.write(bundle, model, output_dir, waveforms)
    print(f"{output_dir}: {_words(args, summary)}")


def _words(args: argparse.Namespace, summary: dict[str, Any]) -> str:
    """Say what was written and how it agrees."""
    megabytes, ratio = summary["bytes"] / 1e6, summary["bytes_over_dense_encoder"]
    return (
        f"subnet '{args.subnet}', {args.precision}, {megabytes:.2f} MB, {ratio:.3f} of its dense "
        f"fp32 encoder; {summary['differing']} of {summary['hypotheses']} hypotheses "
        f"({summary['utterances']} utterances, every output layer) differ from those of its "
        f"source, encoder outputs by {summary['max_abs_diff']:.1e} at most "
        f"(relative RMS {summary['relative_rms']:.1e})"
    )


if __name__ == "__main__":
    run_main(main)
