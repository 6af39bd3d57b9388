"""Trains SALAD's detector: ``python -m espnet2_supernet.bin.salad_train``.

Takes the options of ESPnet's training commands, with ``--asr_model_file`` for the recogniser that
will drop frames. Data sets have speech and the labels that salad_labels wrote:

    python -m espnet2_supernet.bin.salad_train --config conf/train_salad.yaml \
        --asr_model_file exp/asr/valid.loss.ave.pth --output_dir exp/salad \
        --train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound \
        --train_data_path_and_name_and_type exp/labels/train/labels.scp,labels,kaldi_ark ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import run_training


def find_task() -> Any:
    """Import the task; it takes seconds."""
    from espnet2_supernet.tasks.salad import SaladTask

    return SaladTask


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
