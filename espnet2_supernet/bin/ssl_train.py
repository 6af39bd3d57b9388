"""Pre-trains a supernet on speech without text: ``python -m espnet2_supernet.bin.ssl_train``.

The options are in the style of ``espnet2.bin.ssl_train``, with ``--supernet_conf``; data sets need
no text. Progress, one line per epoch, goes to standard output and to
``<output_dir>/progress.log``; ESPnet's log goes to standard error.

    python -m espnet2_supernet.bin.ssl_train --print_config > train.yaml
    python -m espnet2_supernet.bin.ssl_train --config train.yaml --output_dir exp/ssl ...
"""

from __future__ import annotations

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import TrainingCommand

_COMMAND = TrainingCommand("espnet2_supernet.tasks.ssl", "SupernetSSLTask")
get_parser, main = _COMMAND.get_parser, _COMMAND.main


if __name__ == "__main__":
    run_main(main)
