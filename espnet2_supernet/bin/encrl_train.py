"""Trains a student to copy a teacher: ``python -m espnet2_supernet.bin.encrl_train``.

Takes the options of ``asr_train`` and those of the teacher; data sets need no text. What it writes
is a recogniser: ``asr_inference`` decodes it, ``asr_train --init_model_file`` fine-tunes it.

    python -m espnet2_supernet.bin.encrl_train --config train_encrl.yaml --output_dir exp/encrl
        --teacher_model_file exp/asr_large/valid.loss.ave.pth ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import run_training


def find_task() -> Any:
    """Import the task; it takes seconds."""
    from espnet2_supernet.tasks.encrl import SupernetEncRLTask

    return SupernetEncRLTask


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    return find_task().get_parser()


def main(cmd: Sequence[str] | None = None) -> None:
    """Train, or collect statistics with ``--collect_stats true``.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    run_training(find_task, cmd)


if __name__ == "__main__":
    run_main(main)
