"""Writes one subnet as a stand-alone dense model that ESPnet loads.

    python -m espnet2_supernet.bin.prune_extract \
        --asr_train_config exp/asr/config.yaml --asr_model_file exp/asr/valid.loss.ave.pth \
        --subnet device --output_dir exp/asr/extracted_device

The new model is read back and compared with its source before it is declared written.
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


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser("prune_extract", "Write one subnet as a stand-alone dense model.")
    parser.add_argument("--print_config", action=PrintConfig)
    add_extraction_options(parser)
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Extract a subnet.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        ConfigError: If the subnet or a pattern cannot be used.
        CheckpointError: If the weights cannot be read, or the result differs from its source.
        DataError: If ``--wav_scp`` cannot be read.
    """
    args = get_parser().parse_args(cmd)
    check_extraction(args)
    from espnet2_supernet.tasks import extraction

    model, options = load_source(args)
    waveforms = read_waveforms(args, model)
    output_dir = Path(args.output_dir)
    summary = extraction.extract(model, options, args.subnet, output_dir, waveforms)
    print(
        f"{output_dir / 'model.pth'}: subnet '{args.subnet}', {summary['parameters']} parameters, "
        f"{summary['nonzero']} non-zero, largest difference to its source "
        f"{summary['max_abs_diff']:.1e} on {len(waveforms)} waveforms"
    )


if __name__ == "__main__":
    run_main(main)
