"""Trains a student to copy a teacher: ``python -m espnet2_supernet.bin.encrl_train``.

Takes the options of ``asr_train`` and those of the teacher; data sets need no text. What it writes
is a recogniser: ``asr_inference`` decodes it, ``asr_train --init_model_file`` fine-tunes it.

    python -m espnet2_supernet.bin.encrl_train --config train_encrl.yaml --output_dir exp/encrl
        --teacher_model_file exp/asr_large/valid.loss.ave.pth ...
"""

from __future__ import annotations

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import TrainingCommand

_COMMAND = TrainingCommand("espnet2_supernet.tasks.encrl", "SupernetEncRLTask")
get_parser, main = _COMMAND.get_parser, _COMMAND.main


if __name__ == "__main__":
    run_main(main)
