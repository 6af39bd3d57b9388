"""Pre-trains a supernet on speech without text: ``python -m espnet2_supernet.bin.ssl_train``.

The options are in the style of ``espnet2.bin.ssl_train``, with ``--supernet_conf``; data sets need
no text. Progress, one line per epoch, goes to standard output and to
``<output_dir>/progress.log``; ESPnet's log goes to standard error.

    python -m espnet2_supernet.bin.ssl_train --print_config > train.yaml
    python -m espnet2_supernet.bin.ssl_train --config train.yaml --output_dir exp/ssl ...
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._training import run_training


def find_task() -> Any:
    """Import the task; it takes seconds."""
    from espnet2_supernet.tasks.ssl import SupernetSSLTask

    return SupernetSSLTask


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
