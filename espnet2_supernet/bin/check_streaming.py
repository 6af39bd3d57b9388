"""Checks promise 1 on real utterances: streamed equals masked.

Every utterance is decoded in one pass under the chunk mask and, from the waveform, piece by piece
with several piece sizes. The encoder outputs must agree within --tolerance and the hypotheses must
be equal; else the exit status is 1.

    python -m espnet2_supernet.bin.check_streaming --asr_model_file exp/asr/valid.loss.ave.pth \
        --wav_scp dump/raw/train_dev/wav.scp
"""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._decode_output import Progress
from espnet2_supernet.bin._inference_options import load_speech2text, make_parser, parse
from espnet2_supernet.bin._utterances import audio_rules, read_utterances
from espnet2_supernet.data.audio import read_audio
from espnet2_supernet.data.files import atomic_path
from espnet2_supernet.errors import ConfigError, DataError, SupernetError

if TYPE_CHECKING:
    import numpy as np

    from espnet2_supernet.decode.speech2text import Speech2Text


@dataclass
class Comparison:
    """Result for one subnet and one piece size.

    Attributes:
        subnet: Name of the subnet.
        context: Its context in words.
        piece_ms: Length of the pieces.
        utterances: Utterances compared.
        differing: Ids whose hypotheses (tokens and their frames) differ.
        max_abs_diff: Largest difference of an encoder output.
    """

    subnet: str
    context: str
    piece_ms: float
    utterances: int = 0
    differing: list[str] = field(default_factory=list)
    max_abs_diff: float = 0.0


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = make_parser("check_streaming", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    group = parser.add_argument_group("check")
    group.add_argument("--wav_scp", type=Path, help="utterances to decode")
    group.add_argument("--key_file", type=Path, help="only the ids of its first column")
    group.add_argument("--max_utts", type=int, help="only the first so many")
    group.add_argument("--piece_ms", default="10,100,437.5", help="piece sizes, comma-separated")
    group.add_argument("--tolerance", type=float, default=1e-4, help="of encoder outputs")
    group.add_argument("--output", type=Path, help="JSON file for the result")
    return parser


def piece_sizes(value: str) -> list[float]:
    """Read comma-separated piece sizes in ms.

    Raises:
        ConfigError: If one is not a positive number.
    """
    try:
        sizes = [float(part) for part in str(value).split(",")]
    except ValueError as error:
        raise ConfigError(f"--piece_ms {value}: numbers separated by commas expected") from error
    if not sizes or not all(0 < size < float("inf") for size in sizes):
        raise ConfigError(f"--piece_ms {value}: every size must be positive")
    return sizes


def compare(
    speech2text: Speech2Text, key: str, samples: np.ndarray, table: list[Comparison]
) -> None:
    """Decode one utterance both ways and count.

    Args:
        speech2text: A recogniser with a streaming subnet.
        key: Id of the utterance.
        samples: Waveform ``(N,)``.
        table: One entry per piece size, updated in place.
    """
    import torch

    masked, times = speech2text.encode_with_times(samples)
    [expected] = speech2text.search_frames(masked, times)
    for row in table:
        pieces = [masked[:0]]
        session = speech2text.stream(pieces.append)
        size = max(1, round(row.piece_ms * speech2text.fs / 1000.0))
        for start in range(0, len(samples), size):
            session.accept(samples[start : start + size])
        session.finish()
        [found] = session.nbest()
        streamed = torch.cat(pieces)
        difference = float("inf")
        if streamed.shape == masked.shape:
            difference = float((streamed - masked).abs().max()) if len(masked) else 0.0
        row.utterances += 1
        # not max(): a NaN must stay visible
        if not difference <= row.max_abs_diff:
            row.max_abs_diff = difference
        if (found.tokens, found.frames) != (expected.tokens, expected.frames):
            row.differing.append(key)


def check_subnet(args: Namespace, subnet: str | None, files: dict[str, Path]) -> list[Comparison]:
    """Compare all utterances for one subnet.

    Raises:
        SupernetError: If the model, the subnet or an utterance cannot be used.
    """
    speech2text = load_speech2text(args, subnet)
    speech2text.stream()  # refuse at once what cannot stream
    words = speech2text.context.describe(speech2text.frame_ms)
    table = [Comparison(speech2text.subnet, words, size) for size in piece_sizes(args.piece_ms)]
    rules = audio_rules(speech2text, None)
    progress = Progress(len(files), f"comparing with '{speech2text.subnet}'")
    for key, path in files.items():
        try:
            compare(speech2text, key, read_audio(path, rules).samples, table)
        except (DataError, ValueError) as error:
            raise DataError(f"utterance '{key}': {error}") from error
        progress.step()
    return table


def streaming_subnets(args: Namespace) -> list[str]:
    """Return ``--subnet``, or every subnet of the table that streams by default.

    Raises:
        ConfigError: If there is none.
    """
    if args.subnet is not None:
        return [args.subnet]
    table = load_speech2text(_without_context(args)).asr_model.supernet.subnets
    found = [name for name, subnet in table.items() if not subnet.context.is_full]
    if not found:
        raise ConfigError("no subnet of this model streams; nothing to compare")
    return found


def _without_context(args: Namespace) -> Namespace:
    """Return the options without context: it may not fit the first subnet."""
    return Namespace(
        **{**vars(args), "chunk_size": None, "left_context": None, "right_context": None}
    )


def main(cmd: Sequence[str] | None = None) -> None:
    """Compare and print.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If a hypothesis or an encoder output differs, or the input is bad.
    """
    args = parse(get_parser(), cmd)
    if args.wav_scp is None:
        raise ConfigError("--wav_scp is missing")
    if args.max_utts is not None and args.max_utts < 1:
        raise ConfigError(f"--max_utts {args.max_utts}: at least 1")
    piece_sizes(args.piece_ms)
    files = dict(list(read_utterances(args.wav_scp, args.key_file).items())[: args.max_utts])
    rows = [row for name in streaming_subnets(args) for row in check_subnet(args, name, files)]
    for row in rows:
        print(
            f"subnet '{row.subnet}' ({row.context}), pieces of {row.piece_ms:g} ms: "
            f"{row.utterances} utterances, {len(row.differing)} hypotheses differ, "
            f"max abs diff of encoder outputs {row.max_abs_diff:.2e}"
        )
    if args.output is not None:
        try:
            with atomic_path(args.output) as temporary:
                temporary.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        except OSError as error:
            raise DataError(
                f"--output {args.output}: cannot be written ({error.strerror})"
            ) from error
    _verdict(rows, args.tolerance)


def _verdict(rows: list[Comparison], tolerance: float) -> None:
    """Raise if promise 1 is broken."""
    for row in rows:
        if row.differing:
            raise SupernetError(
                f"subnet '{row.subnet}': streamed and masked hypotheses differ for "
                f"{', '.join(row.differing[:5])}"
            )
        if not row.max_abs_diff <= tolerance:
            raise SupernetError(
                f"subnet '{row.subnet}': encoder outputs differ by {row.max_abs_diff:.2e}, "
                f"more than {tolerance:g}"
            )


if __name__ == "__main__":
    run_main(main)
