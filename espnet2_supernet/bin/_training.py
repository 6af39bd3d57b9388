"""What the commands that train share."""

from __future__ import annotations

import argparse
import errno
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from espnet2_supernet.bin._options import given_config, read_yaml
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError, SupernetError


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains one task, or collects its statistics with ``--collect_stats true``.

    Attributes:
        module: Where the task is; imported when it is needed, since that takes seconds.
        name: Name of the task there.
    """

    module: str
    name: str

    def task(self) -> Any:
        """Import the task."""
        return getattr(importlib.import_module(self.module), self.name)

    def get_parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command."""
        parser: argparse.ArgumentParser = self.task().get_parser()
        return parser

    def main(self, cmd: Sequence[str] | None = None) -> None:
        """Train.

        Args:
            cmd: Arguments; those of the process when None.

        Raises:
            SupernetError: If the input cannot be used.
        """
        run_training(self.task, cmd)


def run_training(find_task: Callable[[], Any], cmd: Sequence[str] | None) -> None:
    """Train, or collect statistics with ``--collect_stats true``.

    Args:
        find_task: Imports the task, which takes seconds.
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    config = given_config(cmd)
    if config is not None and not isinstance(read_yaml(config), dict):
        raise ConfigError(f"--config {config}: a mapping of options is expected; is it empty?")
    try:
        find_task().main(cmd=cmd)
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
