"""Corpus preparation from the command line: ``python -m espnet2_supernet.bin.data <subcommand>``.

Options have ESPnet's style (``--train_set``-like names, booleans as ``true`` or ``false``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from espnet2_supernet.bin import _data_commands as commands
from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser, fraction, positive_int
from espnet2_supernet.data.dump import AUDIO_FORMATS
from espnet2_supernet.data.tokens import TOKEN_TYPES
from espnet2_supernet.errors import DataError


def str2bool(value: str) -> bool:
    """Read ``true`` or ``false``; anything else is an error."""
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise argparse.ArgumentTypeError(f"'{value}': use true or false")


def get_parser() -> argparse.ArgumentParser:
    """Build the parser of all subcommands."""
    parser = command_parser("data", "Prepare a corpus.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="subcommand")
    for name, (description, add_options, run) in _COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=description,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument("--print_config", action=PrintConfig)
        add_options(sub)
        sub.set_defaults(run=run)
    return parser


def _in_out(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--in", dest="in_dir", required=True, metavar="DIR", help="data directory to read")
    add("--out", required=True, metavar="DIR", help="data directory to write")


def _add_audio_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audio_only",
        type=str2bool,
        default=False,
        help="for pre-training: transcripts are neither needed nor read nor written",
    )


def _add_nj(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nj", type=positive_int, default=2, help="number of processes")


def _download_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--corpus", required=True, choices=("an4", "librispeech"), help="corpus to fetch")
    add("--subset", nargs="+", default=[], help="LibriSpeech subsets, e.g. train-clean-100")
    add("--out", default="downloads", metavar="DIR", help="folder for archives and corpora")
    add("--url", help="base address of a mirror; default: the addresses of ESPnet's recipes")
    add("--remove_archive", type=str2bool, default=False, help="delete archives once unpacked")


def _an4_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--corpus", required=True, metavar="PATH", help="folder 'an4', its parent, or the archive")
    add("--out", default="data", metavar="DIR", help="gets train_nodev, train_dev and test")
    add("--test", type=str2bool, default=False, help="prepare the test set, too")
    add("--extract_dir", default="downloads/an4_extracted", help="where an archive is unpacked")
    add("--partial", type=str2bool, default=False, help="accept an excerpt: sizes are not checked")


def _librispeech_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--corpus", required=True, metavar="DIR", help="folder 'LibriSpeech' or the one above it")
    add("--subset", nargs="+", required=True, help="one or more subsets; they are joined")
    add("--out", required=True, metavar="DIR", help="data directory to write")
    add("--partial", type=str2bool, default=False, help="accept an excerpt: sizes are not checked")
    add("--split_speakers", type=int, default=0, help="number of readers to hold out")
    add("--split_seed", type=int, default=0, help="seed of the draw of these readers")
    add("--split_out", metavar="DIR", help="data directory of the readers held out")
    _add_audio_only(parser)


def _mini_speech_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", default="data", metavar="DIR", help="gets train, dev and test")
    add("--audio_dir", default="downloads/mini_speech", help="folder for the audio files")
    add("--seed", type=int, default=0, help="seed of texts, voices and noise")
    add("--num_train", type=positive_int, default=500, help="training utterances")
    add("--num_dev", type=positive_int, default=50, help="validation utterances")
    add("--num_test", type=positive_int, default=50, help="test utterances")
    _add_nj(parser)


def _combine_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--in", dest="in_dirs", nargs="+", required=True, metavar="DIR", help="data directories")
    add("--out", required=True, metavar="DIR", help="data directory to write")
    _add_audio_only(parser)


def _subset_options(parser: argparse.ArgumentParser) -> None:
    _in_out(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--first", type=positive_int, metavar="N", help="the first N, sorted by id")
    which.add_argument("--last", type=positive_int, metavar="N", help="the last N, sorted by id")
    which.add_argument("--utt_list", metavar="FILE", help="ids, one per line")
    which.add_argument(
        "--fraction", type=fraction, metavar="F", help="this fraction of every speaker's utterances"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of --fraction")
    _add_audio_only(parser)


def _validate_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--in", dest="in_dirs", nargs="+", required=True, metavar="DIR", help="data directories")
    add("--check_audio", type=str2bool, default=False, help="read every audio file")
    add("--fs", type=positive_int, default=16000, help="sampling rate in Hz that audio must have")
    add(
        "--allow_empty_text",
        type=str2bool,
        default=True,
        help="transcripts without words are a warning ('filter' drops them), not an error",
    )
    add("--token_list", metavar="FILE", help="report tokens that are not in this tokens.txt")
    add("--token_type", choices=TOKEN_TYPES, default="bpe", help="kind of the token list")
    add("--bpemodel", metavar="FILE", help="bpe.model, for --token_type bpe")
    add("--unknown", choices=("warn", "error"), default="warn", help="what unknown tokens are")
    _add_audio_only(parser)
    _add_nj(parser)


def _perturb_speed_options(parser: argparse.ArgumentParser) -> None:
    _in_out(parser)
    parser.add_argument(
        "--factors",
        type=float,
        nargs="+",
        default=[0.9, 1.0, 1.1],
        help="speeds; 1.0 keeps the original utterances",
    )
    parser.add_argument("--audio_dir", help="folder for the audio files; default: <out>/audio")
    _add_audio_only(parser)
    _add_nj(parser)


def _format_options(parser: argparse.ArgumentParser) -> None:
    _in_out(parser)
    add = parser.add_argument
    add("--fs", type=positive_int, default=16000, help="sampling rate in Hz")
    add("--resample", type=str2bool, default=False, help="change other rates, not refuse them")
    add("--channel", default="error", help="several channels: 'error', 'mix' or a number from 0")
    add(
        "--audio_format",
        choices=AUDIO_FORMATS,
        default="auto",
        help="auto: FLAC and WAV that need no change stay in place, all else becomes FLAC",
    )
    add("--max_duration", type=float, default=120.0, help="longest accepted audio in seconds")
    add("--max_skipped", type=float, default=0.01, help="accepted fraction of bad utterances")
    _add_audio_only(parser)
    _add_nj(parser)


def _filter_options(parser: argparse.ArgumentParser) -> None:
    _in_out(parser)
    add = parser.add_argument
    add("--min_duration", type=float, default=0.1, help="seconds; shorter ones are dropped")
    add("--max_duration", type=float, default=20.0, help="seconds; longer ones are dropped")
    add("--fs", type=positive_int, default=16000, help="sampling rate in Hz of the dumped audio")
    _add_audio_only(parser)


def _tokens_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--text", nargs="+", required=True, metavar="FILE", help="Kaldi 'text' files")
    add("--out", required=True, metavar="DIR", help="gets tokens.txt and, for bpe, bpe.model")
    add("--token_type", choices=TOKEN_TYPES, default="bpe", help="what a token is")
    add("--nbpe", type=positive_int, default=500, help="size of the token list, for bpe")
    add("--bpemode", choices=("unigram", "bpe"), default="unigram", help="sentencepiece model")
    add("--character_coverage", type=fraction, default=1.0, help="characters that get a token")
    add("--nlsyms", nargs="+", default=[], metavar="SYMBOL", help="symbols that stay whole")


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[..., Any]]] = {
    "download": ("Fetch a corpus, with resume and check.", _download_options, commands.download),
    "an4": ("Prepare CMU AN4.", _an4_options, commands.an4),
    "librispeech": (
        "Prepare a folder in LibriSpeech layout.",
        _librispeech_options,
        commands.librispeech,
    ),
    "mini_speech": (
        "Synthesise a small corpus offline.",
        _mini_speech_options,
        commands.mini_speech,
    ),
    "combine": ("Join data directories.", _combine_options, commands.combine),
    "subset": ("Select utterances.", _subset_options, commands.subset),
    "validate": ("Check data directories.", _validate_options, commands.validate),
    "perturb_speed": (
        "Add copies at other speeds.",
        _perturb_speed_options,
        commands.perturb_speed,
    ),
    "format": ("Check audio and write a dump directory.", _format_options, commands.format_audio),
    "filter": ("Drop short, long and empty utterances.", _filter_options, commands.filter_set),
    "tokens": ("Make a token list.", _tokens_options, commands.tokens),
}


def main(cmd: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Args:
        cmd: Arguments; those of the process by default.

    Raises:
        DataError: If the data are bad, or a file cannot be read or written.
    """
    args = get_parser().parse_args(cmd)
    try:
        args.run(args)
    except OSError as error:  # a full disk, missing rights: one line, no traceback
        raise DataError(f"{args.command}: {error}") from error


if __name__ == "__main__":
    run_main(main)
