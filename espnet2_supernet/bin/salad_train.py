"""Trains SALAD's detector: ``python -m espnet2_supernet.bin.salad_train``.

Takes the options of ESPnet's training commands, with ``--asr_model_file`` for the recogniser that
will drop frames. Data sets have speech and the labels that salad_labels wrote:

    python -m espnet2_supernet.bin.salad_train --config conf/train_salad.yaml \
        --asr_model_file exp/asr/valid.loss.ave.pth --output_dir exp/salad \
        --train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound \
        --train_data_path_and_name_and_type exp/labels/train/labels.scp,labels,kaldi_ark ...
"""

from __future__ import annotations

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import TrainingCommand

_COMMAND = TrainingCommand("espnet2_supernet.tasks.salad", "SaladTask")
get_parser, main = _COMMAND.get_parser, _COMMAND.main


if __name__ == "__main__":
    run_main(main)
