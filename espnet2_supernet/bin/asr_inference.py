"""Recognises speech with one subnet of a supernet.

Decode a test set; writes text, token, token_int, score, token_time and decode.yaml:

    python -m espnet2_supernet.bin.asr_inference --asr_model_file exp/asr/valid.loss.ave.pth \
        --subnet device --data_path_and_name_and_type dump/raw/test/wav.scp,speech,sound \
        --output_dir exp/asr/decode_device/test

Transcribe a file, a folder or a wav.scp; prints "name text" lines:

    python -m espnet2_supernet.bin.asr_inference --asr_model_file exp/asr/valid.loss.ave.pth \
        --input speech.wav

A bad utterance does not stop the others; it is named at the end, the exit status is 1, and a
rerun decodes only what is missing.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._decode_output import (
    PartialLog,
    Progress,
    Row,
    make_rows,
    write_results,
    write_yaml,
)
from espnet2_supernet.bin._decode_settings import describe, fingerprint, versions
from espnet2_supernet.bin._inference_options import load_speech2text, make_parser, parse
from espnet2_supernet.bin._utterances import audio_rules, find_input, read_utterances
from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from espnet2_supernet.decode.speech2text import Speech2Text


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = make_parser("asr_inference", __doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    group = parser.add_argument_group("input and output")
    group.add_argument(
        "--data_path_and_name_and_type",
        action="append",
        help="ESPnet's triple, wav.scp,speech,sound",
    )
    group.add_argument("--key_file", type=Path, help="decode the ids of its first column only")
    group.add_argument("--input", type=Path, help="audio file, folder or wav.scp to transcribe")
    group.add_argument("--output_dir", type=Path)
    group.add_argument("--nbest", type=int, default=1, help="hypotheses to write (beam search)")
    group.add_argument("--batch_size", type=int, default=1, choices=(1,))
    group.add_argument(
        "--mode",
        default="masked",
        choices=("masked", "streamed"),
        help="masked: whole utterances under the chunk mask; streamed: piece by piece",
    )
    group.add_argument("--piece_ms", type=float, default=100.0, help="streamed: length of a piece")
    group.add_argument(
        "--max_duration",
        type=float,
        help="longest utterance in s; default: 300 for full context, else no limit",
    )
    return parser


def find_utterances(args: Namespace) -> dict[str, Path]:
    """Return the audio file of every utterance to decode.

    Raises:
        ConfigError: If the options contradict each other.
        DataError: If the input cannot be used.
    """
    triples = args.data_path_and_name_and_type
    if (args.input is None) == (not triples):
        raise ConfigError("give --data_path_and_name_and_type or --input, one of them")
    if args.input is not None:
        if args.key_file is not None:
            raise ConfigError("--key_file goes with --data_path_and_name_and_type")
        return find_input(args.input)
    if args.output_dir is None:
        raise ConfigError("--output_dir is missing")
    parts = [part.strip() for part in triples[0].split(",")]
    if len(triples) != 1 or len(parts) != 3 or parts[1:] != ["speech", "sound"]:
        raise ConfigError(
            f"--data_path_and_name_and_type {' '.join(triples)}: write it once, as "
            "<wav.scp>,speech,sound"
        )
    return read_utterances(Path(parts[0]), args.key_file)


def decode_one(
    speech2text: Speech2Text, path: Path, rules: AudioRules, mode: str, piece_ms: float
) -> tuple[list[Row], float, float]:
    """Decode a file.

    Args:
        speech2text: The recogniser.
        path: Audio file.
        rules: What audio is accepted.
        mode: ``masked`` or ``streamed``.
        piece_ms: Length of the pieces of a stream, in ms.

    Returns:
        Rows for the output files, length of the audio in s, computing time in s.

    Raises:
        DataError: If the audio cannot be used or the model's output is not finite.
    """
    samples = read_audio(path, rules).samples
    start = time.perf_counter()
    try:
        if mode == "masked":
            results = speech2text(samples)
        else:
            session, size = speech2text.stream(), max(1, round(piece_ms * speech2text.fs / 1000.0))
            for position in range(0, len(samples), size):
                session.accept(samples[position : position + size])
            session.finish()
            results = speech2text.results(session.nbest(speech2text.options.nbest))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except ValueError as error:  # NaN from the model
        raise DataError(f"{path}: {error}") from error
    return make_rows(results), len(samples) / speech2text.fs, time.perf_counter() - start


def run(args: Namespace, command: Sequence[str]) -> None:
    """Decode everything.

    Args:
        args: Parsed options.
        command: The arguments as given, for ``decode.yaml``.

    Raises:
        SupernetError: If something cannot be used, or utterances could not be decoded.
    """
    utterances = find_utterances(args)
    if not 0 < args.piece_ms < float("inf"):
        raise ConfigError(f"--piece_ms {args.piece_ms}: must be positive and finite")
    speech2text = load_speech2text(args, nbest=args.nbest)
    if args.mode == "streamed":
        speech2text.stream()  # refuse at once what cannot stream
    settings = describe(speech2text, args)
    log = None
    if args.output_dir is not None:
        log = PartialLog(args.output_dir, {**settings, "fingerprint": fingerprint(args)})
    rows, bad, progress = _decode_all(args, speech2text, utterances, log)
    if log is not None:
        log.close()
    if bad:
        key, message = next(iter(bad.items()))
        kept = f"; the others are kept in {log.path}, mend and rerun" if log is not None else ""
        raise DataError(
            f"{len(bad)} of {len(utterances)} utterances not decoded: {', '.join(bad)[:300]}. "
            f"'{key}': {message}{kept}"
        )
    if log is not None:
        write_results(args.output_dir, rows, args.nbest)
        measured = {"num_utterances": len(rows), "real_time_factor": progress.real_time_factor}
        line = shlex.join(["python", "-m", "espnet2_supernet.bin.asr_inference", *command])
        content = {**settings, **measured, "command": line, "versions": versions()}
        write_yaml(args.output_dir / "decode.yaml", content)
        log.remove()


def _decode_all(
    args: Namespace,
    speech2text: Speech2Text,
    utterances: dict[str, Path],
    log: PartialLog | None,
) -> tuple[dict[str, list[Row]], dict[str, str], Progress]:
    """Return rows by utterance, messages of the bad ones, and the progress at the end."""
    rules = audio_rules(speech2text, args.max_duration)
    done = log.rows if log is not None else {}
    rows = {key: done[key] for key in utterances if key in done}
    if rows:
        print(f"{len(rows)} utterances were decoded before", file=sys.stderr)
    bad: dict[str, str] = {}
    progress = Progress(len(utterances) - len(rows), f"decoding with '{speech2text.subnet}'")
    for key in [key for key in utterances if key not in rows]:
        try:
            rows[key], audio, busy = decode_one(
                speech2text, utterances[key], rules, args.mode, args.piece_ms
            )
        except DataError as error:
            bad[key] = str(error)
            logging.warning("utterance '%s': %s", key, error)
            progress.step()
            continue
        if log is not None:
            log.add(key, rows[key])
        if args.input is not None:
            text = rows[key][0]["text"]
            print(f"{key} {text if text is not None else rows[key][0]['token']}", flush=True)
        progress.step(audio, busy)
    return rows, bad, progress


def main(cmd: Sequence[str] | None = None) -> None:
    """Decode.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    args = parse(get_parser(), cmd)
    logging.basicConfig(level=args.log_level, format="%(asctime)s %(levelname)s: %(message)s")
    run(args, sys.argv[1:] if cmd is None else cmd)


if __name__ == "__main__":
    run_main(main)
