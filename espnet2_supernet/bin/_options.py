"""Pieces that the parsers of several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from espnet2_supernet.errors import ConfigError


def command_parser(
    module: str, description: str | None, as_written: bool = False
) -> argparse.ArgumentParser:
    """Return the empty parser of a command; options are not to be shortened.

    Args:
        module: Name of the command in this package.
        description: What ``--help`` says.
        as_written: Keep its line breaks; else lines are filled and defaults shown.
    """
    if as_written:
        formatter: Any = argparse.RawDescriptionHelpFormatter
    else:
        formatter = argparse.ArgumentDefaultsHelpFormatter
    return argparse.ArgumentParser(
        prog=f"python -m espnet2_supernet.bin.{module}",
        description=description,
        formatter_class=formatter,
        allow_abbrev=False,
    )


class PrintConfig(argparse.Action):
    """``--print_config``: print the options as YAML, as far as they are parsed, and stop."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        """Take no value."""
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            nargs=0,
            help="print the options as YAML and stop",
            default=argparse.SUPPRESS,
        )

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, *_: Any) -> None:
        """Print and end with status 0."""
        shown = {k: plain(v) for k, v in vars(namespace).items() if not callable(v)}
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        parser.exit(0)


def positive_int(value: str) -> int:
    """Read a whole number above zero."""
    if value.isdecimal() and int(value) > 0:
        return int(value)
    raise argparse.ArgumentTypeError(f"'{value}': use a whole number above zero")


def fraction(value: str) -> float:
    """Read a number above 0, at most 1."""
    try:
        if 0 < float(value) <= 1:
            return float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{value}': use a number above 0, at most 1")


def plain(value: Any) -> Any:
    """Turn a parsed value into what YAML can say."""
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def read_yaml(path: Path) -> Any:
    """Read the file given as ``--config``.

    Raises:
        ConfigError: If it is missing or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--config {path}: not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {path}: not YAML ({one_line(error)})") from error


def given_config(cmd: Sequence[str] | None) -> Path | None:
    """Return the value of ``--config`` on a command line.

    Args:
        cmd: Arguments; those of the process when None.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    return first.parse_known_args(list(sys.argv[1:] if cmd is None else cmd))[0].config


def one_line(error: BaseException) -> str:
    """Return a message without its line breaks, shortened."""
    return " ".join(str(error).split())[:200]
