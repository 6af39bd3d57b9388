"""``data/<set>`` to ``dump/raw/<set>``: audio is read, checked and, if needed, rewritten.

A bad utterance is skipped, counted and listed with its reason in ``skipped.tsv``; too many of them
are an error. A killed run goes on where it stopped: a journal keeps each result.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.data.audio import AudioRules, read_audio, write_audio
from espnet2_supernet.data.datadir import DataDir, check_other_folder, read_data_dir, write_data_dir
from espnet2_supernet.data.files import write_lines
from espnet2_supernet.data.journal import Journal, Outcome, source_stamp
from espnet2_supernet.data.parallel import parallel_map
from espnet2_supernet.errors import DataError

AUDIO_FORMATS = ("auto", "flac", "wav")
_CONTAINERS = {"FLAC": "flac", "WAV": "wav", "WAVEX": "wav"}


@dataclass(frozen=True)
class FormatOptions:
    """How a set is dumped.

    Attributes:
        rules: What a good utterance is.
        audio_format: ``auto`` refers to FLAC and WAV files in place if they need no change and
            writes FLAC otherwise; ``flac`` and ``wav`` copy every other format.
        max_skipped: Largest accepted fraction of bad utterances.
        nj: Number of processes.
        audio_only: Neither read nor write transcripts.
    """

    rules: AudioRules = field(default_factory=AudioRules)
    audio_format: str = "auto"
    max_skipped: float = 0.01
    nj: int = 1
    audio_only: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            DataError: If a value is out of range.
        """
        if self.audio_format not in AUDIO_FORMATS:
            raise DataError(f"audio_format '{self.audio_format}': use one of {AUDIO_FORMATS}")
        if not 0.0 <= self.max_skipped <= 1.0:
            raise DataError(f"max_skipped {self.max_skipped} is no fraction in [0, 1]")


@dataclass(frozen=True)
class Item:
    """One utterance to dump: its id, its source and where a rewritten file goes (no suffix)."""

    utterance: str
    source: str
    target: str


def format_item(item: Item, rules: AudioRules, audio_format: str) -> Outcome:
    """Check one audio file and rewrite it if needed.

    Args:
        item: The utterance.
        rules: What is accepted.
        audio_format: See :class:`FormatOptions`.

    Returns:
        The outcome; bad audio is reported in it and not raised.
    """
    stamp = source_stamp(item.source, asdict(rules), audio_format)
    try:
        audio = read_audio(item.source, rules)
    except DataError as error:
        return Outcome(item.utterance, stamp, reason=str(error))
    container = _CONTAINERS.get(audio.container)
    keeps = container is not None if audio_format == "auto" else container == audio_format
    path = os.path.abspath(item.source)
    if not (audio.unchanged and keeps):
        suffix = "flac" if audio_format == "auto" else audio_format
        path = f"{item.target}.{suffix}"
        write_audio(path, audio.samples, audio.fs)
    return Outcome(item.utterance, stamp, path, len(audio.samples))


def audio_problem(source: str, rules: AudioRules) -> str:
    """Say what is wrong with an audio file; an empty string if nothing is."""
    try:
        read_audio(source, rules)
    except DataError as error:
        return str(error)
    return ""


def check_sources(data: DataDir, name: object) -> None:
    """Refuse commands and archives in ``wav.scp``: this project runs no shell for its data.

    Raises:
        DataError: Naming the first such utterance.
    """
    for utterance, source in data.wav.items():
        if source.rstrip().endswith("|"):
            raise DataError(
                f"{name}: utterance '{utterance}' is a command ('... |'); commands are not run, "
                "write its output to a file and give the path"
            )


def format_data_dir(in_dir: str | Path, out_dir: str | Path, options: FormatOptions) -> DataDir:
    """Dump a data directory.

    Args:
        in_dir: ``data/<set>``.
        out_dir: ``dump/raw/<set>``; gets ``wav.scp``, ``text`` unless of audio only, ``utt2spk``,
            ``spk2utt``, ``utt2num_samples``, ``feats_type``, ``audio_format`` and ``skipped.tsv``;
            rewritten audio lies in its folder ``audio/``.
        options: Checks, changes, format and processes.

    Returns:
        What was written.

    Raises:
        DataError: If the tables are bad, or too many utterances are.
    """
    in_dir, out_dir = Path(in_dir), Path(out_dir)
    check_other_folder(in_dir, out_dir)
    data = read_data_dir(in_dir, audio_only=options.audio_only)
    check_sources(data, in_dir / "wav.scp")
    outcomes = _run(data, out_dir, options)
    bad = [outcome for outcome in outcomes if outcome.reason]
    write_skipped(out_dir / "skipped.tsv", {o.utterance: o.reason for o in bad})
    if len(bad) > options.max_skipped * len(outcomes):
        raise DataError(
            f"{in_dir}: {len(bad)} of {len(outcomes)} utterances are bad, more than "
            f"--max_skipped {options.max_skipped:g} allows; first: {bad[0].utterance}: "
            f"{bad[0].reason}; all are listed in {out_dir / 'skipped.tsv'}"
        )
    good = [outcome for outcome in outcomes if not outcome.reason]
    dumped = data.select(outcome.utterance for outcome in good)
    dumped.wav = {outcome.utterance: outcome.path for outcome in good}
    dumped.utt2num_samples = {outcome.utterance: outcome.num_samples for outcome in good}
    write_lines(out_dir / "feats_type", ["raw"])
    write_lines(out_dir / "audio_format", [_common_format(dumped)])
    write_data_dir(out_dir, dumped)
    return dumped


def _run(data: DataDir, out_dir: Path, options: FormatOptions) -> list[Outcome]:
    """Format every utterance that no earlier run has done."""
    journal = Journal(out_dir / "format.journal")
    audio_dir = out_dir.resolve() / "audio"
    done: list[Outcome] = []
    items: list[Item] = []
    for utterance, source in data.wav.items():
        stamp = source_stamp(source, asdict(options.rules), options.audio_format)
        known = journal.lookup(utterance, stamp)
        if known is not None:
            done.append(known)
        else:
            items.append(Item(utterance, source, str(audio_dir / safe_name(utterance))))
    work = partial(format_item, rules=options.rules, audio_format=options.audio_format)
    title = f"format {out_dir.name}"
    done.extend(journal.record(parallel_map(work, items, options.nj, title)))
    return done


def safe_name(utterance: str) -> str:
    """Turn an utterance id into a file name; ids may hold slashes.

    Raises:
        DataError: If the id could not be a file name at all.
    """
    name = utterance.replace("%", "%25").replace("/", "%2F")
    if len(name.encode("utf-8")) > 200 or name in (".", ".."):
        raise DataError(f"utterance id '{utterance}' cannot be used as a file name")
    return name


def _common_format(data: DataDir) -> str:
    """Name the audio format of a set; with both, ``flac`` (soundfile reads either)."""
    suffixes = {Path(path).suffix.lower().lstrip(".") for path in data.wav.values()}
    return "wav" if suffixes == {"wav"} else "flac"


def write_skipped(path: str | Path, reasons: dict[str, str]) -> None:
    """Write ``<utterance><TAB><reason>`` lines, possibly none, atomically."""
    with atomic_path(path) as temporary:
        lines = (f"{key}\t{' '.join(reasons[key].split())}\n" for key in sorted(reasons))
        temporary.write_text("".join(lines), encoding="utf-8")
