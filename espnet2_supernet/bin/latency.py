"""Measures speed, memory and token emission delay of subnets: recipe stage 13.

    python -m espnet2_supernet.bin.latency --models exp/asr/extracted_server \
        exp/asr/extracted_device --wav_scp dump/raw/org/dev/wav.scp \
        --text dump/raw/org/dev/text --output_dir exp/asr/latency

Every utterance goes through all rows in turns, in one process on one core, as if it arrived piece
by piece; see espnet2_supernet.measure. Writes latency.json, which espnet2_supernet.bin.report puts
into RESULTS.md. Times of several experiments can be compared when one command measured them all:
--models exp/asr_a/extracted_device exp/asr_b/extracted_device.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._decode_settings import versions
from espnet2_supernet.bin._latency_rows import STREAMING_KINDS, row_specs
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.bin._utterances import read_utterances
from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.files import write_atomic
from espnet2_supernet.report.latency import LATENCY_FILE
from espnet2_supernet.report.trn import read_key_file

if TYPE_CHECKING:
    from espnet2_supernet.measure.emission import AlignedToken
    from espnet2_supernet.measure.run import Utterance


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser("latency", __doc__, as_written=True)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        required=True,
        help="folders that prune_extract wrote, of one experiment or of several",
    )
    parser.add_argument("--bundles", type=Path, nargs="*", default=[], help="bundles of a device")
    parser.add_argument("--wav_scp", type=Path, required=True, help="utterances to recognise")
    parser.add_argument("--text", type=Path, help="their transcripts: for WER and emission delay")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for latency.json")
    parser.add_argument("--num_utts", type=int, default=20, help="only the first so many")
    parser.add_argument("--repeats", type=int, default=3, help="passes; medians are reported")
    parser.add_argument(
        "--chunk_sizes", type=int, nargs="+", help="in frames; default: what each model streams in"
    )
    parser.add_argument(
        "--inference_config", type=Path, help="YAML of the search; the options below win"
    )
    parser.add_argument("--search", choices=("greedy", "beam"), help="default: greedy")
    parser.add_argument("--beam_size", type=int, help="default: 10")
    parser.add_argument("--use", choices=("auto", "ctc", "rnnt"), help="default: auto")
    parser.add_argument(
        "--rows", nargs="+", default=list(STREAMING_KINDS), choices=STREAMING_KINDS,
        help="what computes the models",
    )  # fmt: skip
    parser.add_argument("--core", type=int, help="core to run on; default: the one most idle")
    parser.add_argument(
        "--memory_utts", type=int, default=3, help="utterances for peak memory; 0: leave it out"
    )
    return parser


def read_all(args: Namespace, fs: int) -> list[Utterance]:
    """Read the utterances and their transcripts.

    Raises:
        DataError: If a file cannot be used, or a transcript is missing.
    """
    from espnet2_supernet.measure.run import Utterance

    paths = dict(list(read_utterances(args.wav_scp).items())[: args.num_utts])
    texts = read_key_file(args.text) if args.text else {}
    found = []
    for key, path in paths.items():
        if args.text and key not in texts:
            raise DataError(f"{args.text}: utterance '{key}' of {args.wav_scp} is missing")
        samples = read_audio(path, AudioRules(fs=fs)).samples
        found.append(Utterance(key, path, samples, texts.get(key)))
    return found


def align_all(rows: Sequence[Any], utterances: Sequence[Utterance]) -> list[list[AlignedToken]]:
    """Align the transcripts with the first full-context row that has a CTC head.

    Returns:
        Aligned tokens of every utterance; none at all if it cannot be done.
    """
    from espnet2_supernet.measure.alignment import align, text_to_ids

    for _, engine in rows:
        one = getattr(engine, "speech2text", None)
        if one is None or not one.context.is_full or one.asr_model.ctc is None:
            continue
        tokens = one.asr_model.token_list
        ids = [text_to_ids(u.text or "", one.asr_train_args, tokens) for u in utterances]
        return [align(one, u.samples, i) for u, i in zip(utterances, ids, strict=True)]
    return []


def measure_all(args: Namespace, core: int | None) -> dict[str, Any]:
    """Load everything and measure it.

    Args:
        args: Parsed options.
        core: Core that this process runs on.

    Returns:
        The content of ``latency.json`` as far as it comes from measuring.

    Raises:
        SupernetError: If a model or the data cannot be used.
    """
    from espnet2_supernet.measure.run import Plan, load_rows, measure

    rows, missing = load_rows(row_specs(args))
    if not rows:
        raise ConfigError("--rows: none of them can be measured here")
    rates = {engine.info.fs for _, engine in rows}
    if len(rates) > 1:
        raise ConfigError(f"--models: of several sampling rates: {sorted(rates)}")
    utterances = read_all(args, rates.pop())
    aligned = align_all(rows, utterances) if args.text else []
    if args.text and not aligned:
        reason = "no full-context model with a CTC head among --models"
        print(f"token emission delay is not measured: {reason}", file=sys.stderr)
    plan = Plan(args.repeats, core, args.memory_utts)
    result = measure(rows, utterances, plan, aligned or None)
    result["rows"] += missing
    return result


def main(cmd: Sequence[str] | None = None) -> None:
    """Measure.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If a model or the data cannot be used.
    """
    arguments = list(sys.argv[1:] if cmd is None else cmd)
    args = get_parser().parse_args(arguments)
    for name in ("num_utts", "repeats"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} {getattr(args, name)}: at least 1")
    from espnet2_supernet.compat import quiet

    quiet()
    import torch

    from espnet2_supernet.measure.machine import pinned, quiet_core

    torch.set_num_threads(1)
    core = quiet_core() if args.core is None else args.core
    with pinned(core):  # from the start: some libraries start their threads when they load a model
        result = measure_all(args, core)
    result |= {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "command": f"python -m espnet2_supernet.bin.latency {shlex.join(arguments)}",
        "versions": versions(),
        "wav_scp": str(args.wav_scp),
    }
    path = args.output_dir / LATENCY_FILE
    write_atomic(path, json.dumps(result, indent=2) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    run_main(main)
