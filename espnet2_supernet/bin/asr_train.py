"""Trains a supernet: ``python -m espnet2_supernet.bin.asr_train``.

Takes the options of ``espnet2.bin.asr_train`` and ``--supernet_conf``. Progress, one line per
epoch, goes to standard output and to ``<output_dir>/progress.log``; ESPnet's log goes to standard
error.

    python -m espnet2_supernet.bin.asr_train --print_config > train.yaml
    python -m espnet2_supernet.bin.asr_train --config train.yaml --output_dir exp/asr ...
"""

from __future__ import annotations

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import TrainingCommand

_COMMAND = TrainingCommand("espnet2_supernet.tasks.asr", "SupernetASRTask")
get_parser, main = _COMMAND.get_parser, _COMMAND.main


if __name__ == "__main__":
    run_main(main)
