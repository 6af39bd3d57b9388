"""Averages the weights of checkpoints; masks are kept, never averaged.

python -m espnet2_supernet.bin.average_checkpoints \
        --model_files exp/asr/8epoch.pth exp/asr/9epoch.pth --out exp/asr/my_average.pth
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.errors import CheckpointError


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser(
        "average_checkpoints", "Average checkpoints of one training; masks must be equal."
    )
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument(
        "--model_files", nargs="+", required=True, help="<N>epoch.pth files, oldest first"
    )
    parser.add_argument("--out", required=True, help="File to write")
    parser.add_argument(
        "--asr_train_config",
        help="config.yaml of the training: if given, masks may differ (the schedule had not "
        "ended) and are estimated again from the averaged weights",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Average checkpoints.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        CheckpointError: If a file cannot be read or written, or the files do not fit each other.
        ConfigError: If ``--asr_train_config`` cannot be used.
    """
    args = get_parser().parse_args(cmd)
    from espnet2_supernet.sparsity.averaging import average_into, average_state_dicts
    from espnet2_supernet.train.checkpoint import atomic_save, load_weights

    out = Path(args.out)
    files = [Path(file) for file in args.model_files]
    if out.resolve() in [file.resolve() for file in files]:
        raise CheckpointError(f"--out {out}: is one of --model_files; choose another name")
    if not out.parent.is_dir():
        raise CheckpointError(f"--out {out}: the folder {out.parent} does not exist")
    states = (load_weights(file) for file in files)
    if args.asr_train_config is None:
        average = average_state_dicts(states, names=files)
    else:
        from espnet2_supernet.tasks.asr import SupernetASRTask

        model, _ = SupernetASRTask.build_model_from_file(args.asr_train_config, files[-1])
        average = average_into(model, states, files)
    bad = [key for key, value in average.items() if not bool(value.isfinite().all())]
    if bad:
        raise CheckpointError(
            f"'{bad[0]}' of the average is not finite: a checkpoint is damaged or its training "
            "diverged; take other epochs. Nothing was written"
        )
    atomic_save(average, out)
    print(f"{out}: average of {len(files)} checkpoints")


if __name__ == "__main__":
    run_main(main)
