"""Score a decoded test set with sclite: WER and CER with a 95 % bootstrap interval.

Writes ``score_wer/`` and ``score_cer/`` (``ref.trn hyp.trn result.txt summary.json``) into
``--out``, which is normally the decode folder of the set, ESPnet's place for them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.report.files import remove
from espnet2_supernet.report.sclite import HOW_TO_GET
from espnet2_supernet.report.scoring import (
    SCORERS,
    SUMMARY,
    Score,
    choose_scorer,
    read_transcripts,
    score_set,
)
from espnet2_supernet.report.significance import UNITS, Bootstrap
from espnet2_supernet.report.trn import TOKEN_TYPES


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("score", __doc__)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument("--ref", type=Path, required=True, help="'text' of the test set")
    parser.add_argument("--hyp", type=Path, required=True, help="'text' of the decode")
    parser.add_argument("--utt2spk", type=Path, required=True, help="'utt2spk' of the test set")
    parser.add_argument("--out", type=Path, required=True, help="folder for score_wer, score_cer")
    parser.add_argument("--token_types", nargs="+", choices=TOKEN_TYPES, default=list(TOKEN_TYPES))
    parser.add_argument(
        "--scorer", choices=SCORERS, default="auto", help="auto: sclite where it is found"
    )
    add_bootstrap_arguments(parser)
    return parser


def add_bootstrap_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the bootstrap.

    Args:
        parser: Where they go.
    """
    group = parser.add_argument_group("bootstrap")
    group.add_argument(
        "--bootstrap_unit",
        choices=UNITS,
        default=Bootstrap.unit,
        help="what is drawn; auto: speakers if there are 20 or more, else utterances",
    )
    group.add_argument("--bootstrap_resamples", type=int, default=Bootstrap.resamples)
    group.add_argument("--seed", type=int, default=Bootstrap.seed)


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return a command that can be pasted into a shell.

    Args:
        module: Name of the module in ``bin``.
        arguments: Its arguments.

    Returns:
        ``python -m espnet2_supernet.bin.<module> ...``.
    """
    return shlex.join(["python", "-m", f"espnet2_supernet.bin.{module}", *arguments])


def describe(score: Score) -> str:
    """Return one line about a score.

    Args:
        score: The score.

    Returns:
        Rate, interval, counts, scorer.
    """
    total, interval = score.total, score.interval
    unit = "words" if score.token_type == "wer" else "characters"
    between = f"[{interval.low:.2f}, {interval.high:.2f}]" if interval else "(no interval)"
    return (
        f"{score.token_type.upper()} {total.error_rate:.2f} % {between}  "
        f"{len(score.utterances)} utterances, {total.reference_length} {unit}, "
        f"{total.errors} errors (S {total.substitutions} D {total.deletions} "
        f"I {total.insertions}), scored by {score.scorer}"
    )


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        cmd: Arguments; None for those of the process.

    Raises:
        SupernetError: If the input cannot be scored.
    """
    arguments = list(sys.argv[1:] if cmd is None else cmd)
    args = get_parser().parse_args(arguments)
    method = Bootstrap(args.bootstrap_unit, args.bootstrap_resamples, args.seed)
    folders = {name: args.out / f"score_{name}" for name in args.token_types}
    for folder in folders.values():  # a failed run must not leave the last one's figures
        remove(folder / SUMMARY)
    transcripts = read_transcripts(args.ref, args.hyp, args.utt2spk)
    program = choose_scorer(args.scorer)
    if program is None and args.scorer == "auto":
        warning = f"warning: sclite is not found, the Python scorer counts; {HOW_TO_GET}"
        print(warning, file=sys.stderr)
    command = command_line("score", arguments)
    inputs = {key: str(getattr(args, key)) for key in ("ref", "hyp", "utt2spk")}
    for token_type, folder in folders.items():
        score = score_set(transcripts, folder, token_type, program, method, command, inputs)
        print(f"{describe(score)}: {folder / 'result.txt'}", flush=True)


if __name__ == "__main__":
    run_main(main)
