"""Kaldi-style data directories: ``wav.scp``, ``text``, ``utt2spk``, ``spk2utt``.

Every file is sorted by the bytes of its key (``LC_ALL=C sort``), as ESPnet and Kaldi expect. Where
audio only is asked for (pre-training), ``text`` is neither needed nor read nor written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_supernet.data.files import read_lines, write_lines
from espnet2_supernet.errors import DataError


@dataclass
class DataDir:
    """The tables of one data directory, each keyed by utterance id.

    Attributes:
        wav: Audio path of each utterance (as in ``wav.scp``).
        text: Transcript; may be an empty string. No transcript at all: a directory of audio only.
        utt2spk: Speaker.
        utt2num_samples: Length in samples; filled for dumped directories only.
    """

    wav: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    utt2spk: dict[str, str] = field(default_factory=dict)
    utt2num_samples: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.wav)

    @property
    def num_words(self) -> int:
        """Number of words in all transcripts."""
        return sum(len(words.split()) for words in self.text.values())

    def select(self, keys: Iterable[str]) -> DataDir:
        """Return the directory restricted to ``keys``."""
        keys = sorted_keys(keys)
        sizes = self.utt2num_samples
        return DataDir(
            {key: self.wav[key] for key in keys},
            {key: self.text[key] for key in keys} if self.text else {},
            {key: self.utt2spk[key] for key in keys},
            {key: sizes[key] for key in keys} if sizes else {},
        )


def sorted_keys(keys: Iterable[str]) -> list[str]:
    """Sort as ``LC_ALL=C sort`` does: by the bytes of the UTF-8 text."""
    return sorted(keys, key=lambda key: key.encode("utf-8"))


def read_table(path: str | Path, allow_empty: bool = False) -> dict[str, str]:
    """Read ``<utterance> <value>`` lines.

    Args:
        path: The file.
        allow_empty: Whether a line may hold an id alone (a transcript without words).

    Returns:
        Values by id, in the order of the file.

    Raises:
        DataError: If the file is missing or empty, or a line has no id, no value or an id that
            came before; file, line and utterance are named.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if not key:
            raise DataError(f"{path}:{number}: empty line; remove it")
        if key in table:
            raise DataError(f"{path}:{number}: duplicate utterance id '{key}'; keep one of them")
        if not value.strip() and not allow_empty:
            raise DataError(f"{path}:{number}: utterance '{key}' has no value")
        table[key] = value.strip()
    return table


def write_table(path: str | Path, table: Mapping[str, object]) -> None:
    """Write ``<id> <value>`` lines, sorted, atomically."""
    write_lines(path, (f"{key} {table[key]}".rstrip() for key in sorted_keys(table)))


def invert_utt2spk(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Turn ``utt2spk`` into ``spk2utt`` (ids joined by blanks)."""
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted_keys(utt2spk):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(utterances) for speaker, utterances in spk2utt.items()}


def read_data_dir(
    path: str | Path, allow_empty_text: bool = True, audio_only: bool = False
) -> DataDir:
    """Read and validate a data directory.

    Args:
        path: Folder with ``wav.scp`` and ``text``; without ``utt2spk`` each utterance is its own
            speaker, as in Kaldi.
        allow_empty_text: Whether transcripts without words pass (the filter lists them later).
        audio_only: Leave ``text`` alone, whether it is there or not.

    Raises:
        DataError: If a file is missing, empty or malformed, or the ids of two files differ.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such data directory; run the data stage first")
    wav = read_table(path / "wav.scp")
    text = {} if audio_only else read_table(path / "text", allow_empty=allow_empty_text)
    has_speakers = (path / "utt2spk").exists()
    utt2spk = read_table(path / "utt2spk") if has_speakers else {key: key for key in wav}
    sizes: dict[str, int] = {}
    if (path / "utt2num_samples").exists():
        sizes = _to_sizes(path / "utt2num_samples")
        check_same_ids(wav, sizes, path / "wav.scp", path / "utt2num_samples")
    if not audio_only:
        check_same_ids(wav, text, path / "wav.scp", path / "text")
    check_same_ids(wav, utt2spk, path / "wav.scp", path / "utt2spk")
    if (path / "spk2utt").exists():
        _check_spk2utt(path / "spk2utt", utt2spk)
    return DataDir(wav, text, utt2spk, sizes)


def _to_sizes(path: Path) -> dict[str, int]:
    """Read a table of positive whole numbers."""
    table = read_table(path)
    for key, value in table.items():
        if not value.isdecimal():
            raise DataError(f"{path}: utterance '{key}' has length '{value}', not a whole number")
    return {key: int(value) for key, value in table.items()}


def _check_spk2utt(path: Path, utt2spk: Mapping[str, str]) -> None:
    """Check that ``spk2utt`` is the inverse of ``utt2spk``."""
    if {k: v.split() for k, v in read_table(path).items()} != {
        k: v.split() for k, v in invert_utt2spk(utt2spk).items()
    }:
        raise DataError(f"{path}: does not agree with utt2spk; delete it, it is written anew")


def check_same_ids(
    first: Iterable[str], second: Iterable[str], first_name: object, second_name: object
) -> None:
    """Check that two tables hold the same utterances.

    Raises:
        DataError: Naming up to three of the ids that only one of them holds.
    """
    one, two = set(first), set(second)
    for missing, there, absent in (
        (one - two, first_name, second_name),
        (two - one, second_name, first_name),
    ):
        if missing:
            some = ", ".join(sorted_keys(missing)[:3])
            raise DataError(
                f"{absent}: {len(missing)} utterance(s) of {there} are missing, e.g. {some}; "
                "both files must hold the same ids"
            )


def check_other_folder(in_dir: Path, out_dir: Path) -> None:
    """Refuse to read and write the same directory.

    Raises:
        DataError: If the two are one.
    """
    if in_dir.resolve() == out_dir.resolve():
        raise DataError(f"{out_dir}: input and output are the same directory")


def write_data_dir(path: str | Path, data: DataDir) -> None:
    """Write a data directory; each file atomically, ``wav.scp`` last.

    A directory of audio only gets no ``text``; one that an earlier run left there is deleted.

    Raises:
        DataError: If there is no utterance, the ids differ, or an id holds a blank.
    """
    path = Path(path)
    if not len(data):
        raise DataError(f"{path}: no utterance is left to write")
    if data.text:
        check_same_ids(data.wav, data.text, path / "wav.scp", path / "text")
    check_same_ids(data.wav, data.utt2spk, path / "wav.scp", path / "utt2spk")
    for key in (*data.wav, *data.utt2spk.values()):
        if not key or key.split() != [key]:
            raise DataError(f"{path}: id '{key}' is empty or holds a blank")
    if data.text:
        write_table(path / "text", {key: " ".join(data.text[key].split()) for key in data.text})
    else:
        (path / "text").unlink(missing_ok=True)
    write_table(path / "utt2spk", data.utt2spk)
    write_table(path / "spk2utt", invert_utt2spk(data.utt2spk))
    if data.utt2num_samples:
        write_table(path / "utt2num_samples", data.utt2num_samples)
    write_table(path / "wav.scp", data.wav)
