"""What training reads, checked: the tables before it starts, every sound when it is loaded."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from espnet2.train import dataset, iterable_dataset

from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.data.datadir import check_same_ids, read_table
from espnet2_supernet.errors import ConfigError, DataError, check_keys

NAMES = {
    "speech": "<set>/wav.scp,speech,sound",
    "text": "<set>/text,text,text",
    "labels": "<labels>/labels.scp,labels,kaldi_ark",
}
TABLES = (("speech", "sound"), ("text", "text"), ("labels", "kaldi_ark"))  # one line an utterance


def check_training_data(
    args: argparse.Namespace, names: Sequence[str] = ("speech", "text")
) -> None:
    """Check the tables of the training and the validation set against each other.

    Args:
        args: Training options; with ``collect_stats`` the tables must also have one order, as
            they are read side by side.
        names: What each set must have, of ``speech``, ``text`` and ``labels``.

    Raises:
        ConfigError: If a set or one of its two parts is not given, or is of an unknown type.
        DataError: If a table is missing, empty or malformed, or the ids of two tables differ.
    """
    for part in ("train", "valid"):
        option = f"{part}_data_path_and_name_and_type"
        tables = _read_tables(option, getattr(args, option), names)
        if not tables:
            continue
        (first, ids), *others = tables.items()
        for path, other in others:
            check_same_ids(ids, other, first, path)
            if args.collect_stats and list(ids) != list(other):
                raise DataError(f"{path}: not in the order of {first}; sort both by id")
        shapes = getattr(args, f"{part}_shape_file")
        if not shapes and args.iterator_type == "sequence" and not args.collect_stats:
            raise ConfigError(
                f"{part}_shape_file: not given; --collect_stats true writes speech_shape"
            )
        for path in shapes:
            unknown = [key for key in read_table(path, allow_empty=True) if key not in ids]
            if unknown:
                raise DataError(
                    f"{path}: utterance '{unknown[0]}' is not in {first}; collect the statistics "
                    "again, they are of other data"
                )


def _read_tables(option: str, triples: list, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read the tables of one set; keys are their paths."""
    given = [name for _, name, _ in triples]
    missing = [name for name in names if name not in given]
    if missing:
        raise ConfigError(
            f"{option}: '{missing[0]}' is missing (given: {', '.join(given) or 'nothing'}); give "
            + " and ".join(NAMES[name] for name in names)
        )
    tables = {}
    for path, name, kind in triples:
        if not any(re.match(known, kind) for known in dataset.DATA_TYPES):
            check_keys([kind], dataset.DATA_TYPES, f"{option}: {path}: type")
        if (name, kind) in TABLES:
            tables[str(path)] = read_table(path, allow_empty=kind == "text")
        if (name, kind) == ("text", "text"):
            _check_words(path, tables[str(path)])
    return tables


def _check_words(path: str, text: Mapping[str, str]) -> None:
    """Refuse transcripts without words, which ESPnet reads in training but not for statistics."""
    empty = [key for key, words in text.items() if not words]
    if empty:
        raise DataError(
            f"{path}: {len(empty)} transcript(s) without words, e.g. of utterance '{empty[0]}'; "
            "the command 'data filter' drops them"
        )


class SoundTable(Mapping[str, np.ndarray]):
    """The sounds of a ``wav.scp``, each read with every check.

    Args:
        path: ``wav.scp``.
        fs: Sampling rate in Hz that sounds must have.
    """

    def __init__(self, path: str | Path, fs: int) -> None:
        """Read the table, not yet the sounds."""
        self.paths = read_table(path)
        self.fs = fs

    def __getitem__(self, key: str) -> np.ndarray:
        """Return the waveform ``(N,)``, float32.

        Raises:
            DataError: If the sound cannot be used; the utterance and the file are named.
        """
        try:
            return load_sound(self.paths[key], self.fs)
        except DataError as error:
            raise DataError(f"utterance '{key}': {error}") from error

    def __iter__(self) -> Iterator[str]:
        """Return the ids."""
        return iter(self.paths)

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.paths)


def load_sound(path: str, fs: int) -> np.ndarray:
    """Read a waveform ``(N,)``.

    Raises:
        DataError: If the file is missing, empty, unreadable or truncated, has another rate or
            several channels, or holds no samples or such that are not finite.
    """
    try:
        return read_audio(path, AudioRules(fs=fs, max_duration=float("inf"))).samples
    except DataError as error:
        raise DataError(f"{error}. The command 'data format' mends or skips such files") from error


def sampling_rate(args: argparse.Namespace) -> int:
    """Return the sampling rate in Hz of the front-end; ESPnet's ones take ``16k``, too.

    Raises:
        ConfigError: If it is no number.
    """
    given = str((args.frontend_conf or {}).get("fs", 16000)).lower()
    number, factor = (given[:-1], 1000) if given.endswith("k") else (given, 1)
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"frontend_conf.fs: '{given}' is no sampling rate in Hz, such as 16000")
    return int(number) * factor


@contextmanager
def checked_sounds(fs: int) -> Iterator[None]:
    """Let ESPnet's data sets read type ``sound`` with our checks.

    ESPnet itself trains on truncated and empty sounds without a word, and names no utterance.

    Args:
        fs: Sampling rate in Hz of the model's front-end.
    """
    tables: tuple[dict, dict] = (dataset.DATA_TYPES, iterable_dataset.DATA_TYPES)
    saved = [types["sound"] for types in tables]
    dataset.DATA_TYPES["sound"] = {
        **dataset.DATA_TYPES["sound"],
        "func": lambda path: SoundTable(path, fs),
        "kwargs": [],
    }
    iterable_dataset.DATA_TYPES["sound"] = lambda path: load_sound(path, fs)
    try:
        yield
    finally:
        for types, original in zip(tables, saved, strict=True):
            types["sound"] = original
