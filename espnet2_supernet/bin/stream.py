"""Recognises speech with a bundle while it arrives; needs neither torch nor ESPnet.

    supernet-stream exp/asr/bundle_device a.wav b.flac
    arecord -q -t raw -f S16_LE -r 16000 -c 1 | supernet-stream exp/asr/bundle_device -
    supernet-stream exp/asr/bundle_device --microphone

Results are printed on standard output as '<name> <text>', what is still growing on standard
error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.bin import run_main
from espnet2_supernet.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from espnet2_supernet.runtime.recognizer import Recognizer
    from espnet2_supernet.runtime.result import StreamingResult

STDIN = "-"
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = argparse.ArgumentParser(
        prog="supernet-stream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=Path, help="folder written by bin.bundle")
    parser.add_argument(
        "input",
        nargs="*",
        help=f"audio files at the model's rate; '{STDIN}': raw 16-bit little-endian samples of one "
        "channel from standard input",
    )
    parser.add_argument("--microphone", action="store_true", help="listen until Ctrl-C")
    parser.add_argument(
        "--piece_ms", type=float, default=100.0, help="how much is fed at a time (default: 100)"
    )
    parser.add_argument(
        "--no_partial", action="store_true", help="print final results only (default: all)"
    )
    parser.add_argument("--num_threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument(
        "--allow_untrained", action="store_true", help="accept a bundle of an untrained subnet"
    )
    group = parser.add_argument_group("search")
    group.add_argument("--search", default="greedy", choices=("greedy", "beam"))
    group.add_argument("--beam_size", type=int, default=10)
    group.add_argument("--use", default="auto", choices=("auto", "ctc", "rnnt"))
    group.add_argument("--max_symbols", type=int, help="RNN-T tokens per frame at most")
    group.add_argument("--length_bonus", type=float, default=0.0, help="per token")
    return parser


class Printer:
    """Prints results: final ones on standard output, growing ones on standard error.

    Args:
        partial: Whether growing ones are shown.
    """

    def __init__(self, partial: bool) -> None:
        """Look whether a terminal shows them."""
        self._partial = partial
        self._rewrites = sys.stderr.isatty()
        self._shown = ""

    def update(self, result: StreamingResult) -> None:
        """Show what has changed."""
        text = words(result)
        if not self._partial or text == self._shown:
            return
        end = "\r" if self._rewrites else "\n"
        padding = " " * (len(self._shown) - len(text)) if self._rewrites else ""
        print(f"{text}{padding}", end=end, file=sys.stderr, flush=True)
        self._shown = text

    def final(self, name: str, result: StreamingResult) -> None:
        """Print the result of a stream."""
        if self._rewrites and self._shown:
            print(" " * len(self._shown), end="\r", file=sys.stderr, flush=True)
        self._shown = ""
        print(f"{name} {words(result)}", flush=True)


def words(result: StreamingResult) -> str:
    """Return the text, or the tokens where no text is known."""
    return result.text if result.text is not None else " ".join(result.tokens)


def load(args: argparse.Namespace) -> Recognizer:
    """Load the bundle and get its kernels ready, saying so if they have to be compiled.

    Raises:
        SupernetError: If the bundle or an option cannot be used.
    """
    from espnet2_supernet.runtime.kernels.compilation import on_first_compilation
    from espnet2_supernet.runtime.recognizer import Recognizer

    recognizer = Recognizer.load(
        args.bundle,
        allow_untrained=args.allow_untrained,
        num_threads=args.num_threads,
        search=args.search,
        beam_size=args.beam_size,
        use=args.use,
        max_symbols=args.max_symbols,
        length_bonus=args.length_bonus,
    )
    message = "compiling for this CPU, once; the next start is quick ..."
    with on_first_compilation(lambda: print(message, file=sys.stderr, flush=True)):
        recognizer.warm_up()
    return recognizer


def sources(args: argparse.Namespace, fs: int) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """Return name and pieces of every stream, in the order given.

    Raises:
        ConfigError: If there is none, or the microphone and others.
    """
    from espnet2_supernet.bin import _audio_sources as audio

    size = max(1, round(args.piece_ms * fs / 1000.0))
    if args.microphone:
        yield "microphone", audio.microphone_pieces(fs, size)
    for name in args.input:
        if name == STDIN:
            yield "stdin", audio.pcm_pieces(sys.stdin.buffer, size)
        else:
            yield Path(name).stem, audio.file_pieces(Path(name), fs, size)


def main(cmd: Sequence[str] | None = None) -> None:
    """Recognise all inputs.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the bundle, an option or an input cannot be used.
    """
    args = get_parser().parse_args(cmd)
    _check(args)
    for name in THREAD_VARIABLES:  # numpy reads them when it is imported
        os.environ[name] = str(args.num_threads)
    recognizer = load(args)
    printer = Printer(not args.no_partial)
    for name, pieces in sources(args, recognizer.fs):
        session = recognizer.stream()
        try:
            for piece in pieces:
                printer.update(session.accept(piece))
            printer.final(name, session.finish())
        except ConfigError:
            raise
        except ValueError as error:  # a DataError, or NaN from the model
            raise DataError(f"{name}: {error}") from error


def _check(args: argparse.Namespace) -> None:
    """Refuse options that have no meaning."""
    if bool(args.input) == args.microphone:
        raise ConfigError(f"give audio files, '{STDIN}' for standard input, or --microphone")
    if args.input.count(STDIN) > 1:
        raise ConfigError(f"'{STDIN}' can be read once only")
    if not 0 < args.piece_ms < float("inf"):
        raise ConfigError(f"--piece_ms {args.piece_ms}: must be positive and finite")
    if args.num_threads < 1:
        raise ConfigError(f"--num_threads {args.num_threads}: at least 1")


def run() -> None:
    """Entry point of the console script."""
    run_main(main)


if __name__ == "__main__":
    run()
