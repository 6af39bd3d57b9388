"""Averages the weights of checkpoints; masks are kept, never averaged.

python -m espnet2_supernet.bin.average_checkpoints \
        --model_files exp/asr/8epoch.pth exp/asr/9epoch.pth --out exp/asr/my_average.pth
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
        "ended) and are estimated again from the averaged weights; not under prune_and_grow, l0 or "
        "rewind, whose masks do not follow from the weights",
    )
    return parser


def noting_gaps(
    states: Iterator[dict[str, Any]], has_gap: dict[str, list[bool]]
) -> Iterator[dict[str, Any]]:
    """Pass state dicts on, and note of each whether what may be no number is none.

    Args:
        states: State dicts.
        has_gap: By name of a tensor, one entry for each state dict that passes.

    Yields:
        The state dicts.
    """
    for state in states:
        for key, found in has_gap.items():
            found.append(key in state and not bool(state[key].isfinite().all()))
        yield state


def check_finite(average: Mapping[str, Any], has_gap: Mapping[str, Sequence[bool]]) -> None:
    """Refuse an average that is no number, but where none of its checkpoints has one yet.

    Args:
        average: State dict.
        has_gap: Result of :func:`noting_gaps`.

    Raises:
        CheckpointError: Naming the tensor.
    """
    for key, value in average.items():
        if not bool(value.isfinite().all()) and not all(has_gap.get(key, [False])):
            raise CheckpointError(
                f"'{key}' of the average is not finite: a checkpoint is damaged or its training "
                "diverged; take other epochs. Nothing was written"
            )


def main(cmd: Sequence[str] | None = None) -> None:
    """Average checkpoints.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        CheckpointError: If a file cannot be read or written, or the files do not fit each other.
        ConfigError: If ``--asr_train_config`` cannot be used.
    """
    args = get_parser().parse_args(cmd)
    from espnet2_supernet.damon.detector import THRESHOLD_KEY
    from espnet2_supernet.sparsity.averaging import average_into, average_state_dicts
    from espnet2_supernet.train.checkpoint import atomic_save, load_weights

    out = Path(args.out)
    files = [Path(file) for file in args.model_files]
    if out.resolve() in [file.resolve() for file in files]:
        raise CheckpointError(f"--out {out}: is one of --model_files; choose another name")
    if not out.parent.is_dir():
        raise CheckpointError(f"--out {out}: the folder {out.parent} does not exist")
    has_gap: dict[str, list[bool]] = {THRESHOLD_KEY: []}
    states = noting_gaps((load_weights(file) for file in files), has_gap)
    if args.asr_train_config is None:
        average = average_state_dicts(states, names=files)
    else:
        from espnet2_supernet.tasks.asr import SupernetASRTask

        model, _ = SupernetASRTask.build_model_from_file(args.asr_train_config, files[-1])
        average = average_into(model, states, files)
    check_finite(average, has_gap)
    atomic_save(average, out)
    print(f"{out}: average of {len(files)} checkpoints")


if __name__ == "__main__":
    run_main(main)
