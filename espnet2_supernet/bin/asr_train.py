"""Trains a supernet: ``python -m espnet2_supernet.bin.asr_train``.

Takes the options of ``espnet2.bin.asr_train`` and ``--supernet_conf``. Progress, one line per
epoch, goes to standard output and to ``<output_dir>/progress.log``; ESPnet's log goes to standard
error.

    python -m espnet2_supernet.bin.asr_train --print_config > train.yaml
    python -m espnet2_supernet.bin.asr_train --config train.yaml --output_dir exp/asr ...
"""

from __future__ import annotations

import argparse
import errno
import re
from collections.abc import Sequence

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import given_config, read_yaml
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError, SupernetError


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    from espnet2_supernet.tasks.asr import SupernetASRTask

    return SupernetASRTask.get_parser()


def main(cmd: Sequence[str] | None = None) -> None:
    """Train, or collect statistics with ``--collect_stats true``.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    config = given_config(cmd)
    if config is not None and not isinstance(read_yaml(config), dict):
        raise ConfigError(f"--config {config}: a mapping of options is expected; is it empty?")
    from espnet2_supernet.tasks.asr import SupernetASRTask

    try:
        SupernetASRTask.main(cmd=cmd)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; check the paths given") from error
    except OSError as error:  # a log or a plot; checkpoints tell about themselves
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise CheckpointError(
            f"{error.filename or 'output'}: disk full; the last checkpoint is intact, free some "
            "space and resume"
        ) from error
    except Exception as error:  # another process failed: its traceback is in the message
        told = re.findall(r"^espnet2_supernet\.errors\.\w+: (.*)$", str(error), re.MULTILINE)
        if not told:
            raise
        raise SupernetError(told[-1]) from error


if __name__ == "__main__":
    run_main(main)
