"""Options that ``asr_inference`` and ``check_streaming`` share."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet2_supernet.bin._options import command_parser, given_config, plain, read_yaml
from espnet2_supernet.errors import ConfigError, check_keys

if TYPE_CHECKING:
    from espnet2_supernet.decode.speech2text import Speech2Text

SEARCH_OPTIONS = ("search", "beam_size", "use", "lm_weight", "length_bonus", "max_symbols")


def make_parser(
    module: str, description: str | None, searches: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the options of model, subnet and search.

    Args:
        module: Name of the command.
        description: What ``--help`` says.
        searches: Whether the command searches hypotheses; else it gets no such options.
    """
    parser = command_parser(module, description)
    parser.add_argument("--config", type=Path, help="YAML file of any of these options")
    parser.add_argument(
        "--print_config", action="store_true", help="print the options as YAML and stop"
    )
    parser.add_argument(
        "--log_level",
        type=str.upper,
        default="WARNING",
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        help="of the log on standard error",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0 or 1")
    parser.add_argument("--num_threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    _add_model_options(parser.add_argument_group("model"))
    _add_subnet_options(parser.add_argument_group("subnet"))
    if searches:
        _add_text_options(parser.add_argument_group("text"))
        _add_search_options(parser.add_argument_group("search"))
    return parser


def _add_model_options(group: Any) -> None:
    group.add_argument("--asr_train_config", type=Path, help="default: beside the model file")
    group.add_argument("--asr_model_file", type=Path, help="weights, e.g. valid.loss.ave.pth")
    group.add_argument("--model_tag", help="folder of a packed model, instead of the two files")


def _add_text_options(group: Any) -> None:
    group.add_argument("--lm_train_config", type=Path, help="of a recurrent ESPnet LM")
    group.add_argument("--lm_file", type=Path)
    group.add_argument("--token_type", help="default: as trained")
    group.add_argument("--bpemodel", type=Path, help="not needed to decode")


def _add_subnet_options(group: Any) -> None:
    group.add_argument("--subnet", help="default: the first of the table")
    group.add_argument("--chunk_size", type=_frames_or_full, help="encoder frames, or 'full'")
    group.add_argument("--left_context", type=int, help="encoder frames")
    group.add_argument("--right_context", type=int, help="encoder frames")
    group.add_argument(
        "--allow_untrained",
        type=str2bool,
        default=False,
        help="accept a context that the subnet was not trained for",
    )


def _add_search_options(group: Any) -> None:
    group.add_argument("--search", default="greedy", choices=("greedy", "beam"))
    group.add_argument("--beam_size", type=int, default=10)
    group.add_argument("--use", default="auto", choices=("auto", "ctc", "rnnt"))
    group.add_argument("--max_symbols", type=int, help="RNN-T tokens per frame at most")
    group.add_argument("--lm_weight", type=float, default=0.0)
    group.add_argument("--length_bonus", type=float, default=0.0, help="per token")


def str2bool(value: str) -> bool:
    """Read ``true`` or ``false`` as ESPnet's options do."""
    lowered = str(value).lower()
    if lowered in ("true", "yes", "1"):
        return True
    if lowered in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{value}' is neither true nor false")


def _frames_or_full(value: str) -> int | str:
    if value == "full":
        return value
    try:
        return int(value)
    except ValueError as error:
        message = f"'{value}': a whole number of encoder frames, or 'full'"
        raise argparse.ArgumentTypeError(message) from error


def parse(parser: argparse.ArgumentParser, cmd: Sequence[str] | None) -> Namespace:
    """Parse the command line over ``--config``; the command line wins.

    Values of the file pass the same checks as those of the command line.

    Args:
        parser: The parser.
        cmd: Arguments; those of the process when None.

    Raises:
        ConfigError: If the file is missing, no mapping, or has an unknown key.
    """
    given = list(sys.argv[1:] if cmd is None else cmd)
    config = given_config(given)
    args = parser.parse_args([*(_from_file(parser, config) if config else []), *given])
    if args.print_config:
        shown = {k: plain(v) for k, v in vars(args).items() if k not in ("config", "print_config")}
        print(yaml.safe_dump(shown, sort_keys=False), end="")
        sys.exit(0)
    return args


def _from_file(parser: argparse.ArgumentParser, path: Path) -> list[str]:
    """Turn a YAML file into command-line arguments."""
    content = read_yaml(path)
    if content is None:
        return []
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path}: a mapping of options is expected")
    valid = {action.dest for action in parser._actions} - {"help", "config", "print_config"}
    check_keys(content, valid, str(path))
    arguments = []
    for key, value in content.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                arguments.append(f"--{key}={one}")
    return arguments


def context_wish(args: Namespace) -> dict[str, Any] | None:
    """Return the context options given, or ``None`` for the subnet's own context."""
    names = ("chunk_size", "left_context", "right_context")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return given or None


def load_speech2text(args: Namespace, subnet: str | None = None, nbest: int = 1) -> Speech2Text:
    """Load the model that the options name.

    Args:
        args: Parsed options.
        subnet: Instead of ``--subnet``.
        nbest: Hypotheses wanted.

    Raises:
        ConfigError: If an option cannot be used.
        CheckpointError: If a model file cannot be used.
    """
    if args.ngpu not in (0, 1):
        raise ConfigError(f"--ngpu {args.ngpu}: decoding uses one GPU at most; split by --key_file")
    from espnet2_supernet.compat import quiet

    quiet()
    import torch

    from espnet2_supernet.decode.speech2text import Speech2Text

    if args.num_threads > 0:
        torch.set_num_threads(args.num_threads)
    options = {name: getattr(args, name) for name in SEARCH_OPTIONS if hasattr(args, name)}
    return Speech2Text(
        **_model_files(args),
        subnet=subnet or args.subnet,
        context=context_wish(args),
        allow_untrained=args.allow_untrained,
        device="cuda" if args.ngpu else "cpu",
        dtype=args.dtype,
        nbest=nbest,
        **options,
    )


def _model_files(args: Namespace) -> dict[str, Any]:
    """Return the files of the model and of the language model, by arguments of Speech2Text.

    Raises:
        ConfigError: If no model is named.
    """
    files: dict[str, Any]
    if args.model_tag:
        from espnet2_supernet.decode.loading import packed_files

        files = packed_files(Path(args.model_tag))
    elif args.asr_model_file is None:
        raise ConfigError("give --asr_model_file (and --asr_train_config), or --model_tag")
    else:
        config = args.asr_train_config or args.asr_model_file.parent / "config.yaml"
        files = {"asr_train_config": config, "asr_model_file": args.asr_model_file}
    for name in ("lm_train_config", "lm_file", "token_type", "bpemodel"):
        if getattr(args, name, None) is not None:
            files[name] = getattr(args, name)
    return files
