"""Which audio files to decode, and what they must be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_supernet.data.audio import AudioRules
from espnet2_supernet.data.datadir import read_table, sorted_keys
from espnet2_supernet.data.files import read_lines
from espnet2_supernet.errors import DataError

if TYPE_CHECKING:
    from espnet2_supernet.decode.speech2text import Speech2Text

SUFFIXES = (".wav", ".flac", ".ogg", ".sph", ".mp3")
MAX_FULL_CONTEXT = 300.0  # s; full attention over more would need gigabytes
NO_LIMIT = 1e9


def read_utterances(scp: Path, key_file: Path | None = None) -> dict[str, Path]:
    """Read a ``wav.scp``.

    Args:
        scp: ``<id> <path>`` lines.
        key_file: Keep the ids of its first column only.

    Returns:
        Paths by id, in the order of the file.

    Raises:
        DataError: If a file cannot be read, an entry is a shell command, or an id of the key
            file is missing.
    """
    table = read_table(scp)
    for key, value in table.items():
        if value.endswith("|"):
            raise DataError(
                f"{scp}: utterance '{key}' is a shell command; write its output to files first"
            )
    if key_file is not None:
        keys = [line.split()[0] for line in read_lines(key_file) if line.strip()]
        missing = [key for key in keys if key not in table]
        if missing:
            raise DataError(f"{key_file}: id '{missing[0]}' is not in {scp}")
        table = {key: table[key] for key in keys}
    return {key: Path(value) for key, value in table.items()}


def find_input(path: Path) -> dict[str, Path]:
    """Find what to transcribe.

    Args:
        path: An audio file, a folder that is searched for audio files, or a ``*.scp``.

    Returns:
        Paths by name: the id in the table, or the path below the folder without suffix.

    Raises:
        DataError: If there is nothing.
    """
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
        if not found:
            raise DataError(f"{path}: no audio files ({', '.join(SUFFIXES)}) in the folder")
        names = {_name(p.relative_to(path)): p for p in found}
        if len(names) != len(found):  # a.wav beside a.flac
            names = {_name(p.relative_to(path), keep_suffix=True): p for p in found}
        return {name: names[name] for name in sorted_keys(names)}
    if path.suffix == ".scp":
        return read_utterances(path)
    if not path.is_file():
        raise DataError(f"--input {path}: no such file or folder")
    return {_name(Path(path.name)): path}


def _name(path: Path, keep_suffix: bool = False) -> str:
    """Make an id without blanks of a path."""
    kept = path if keep_suffix else path.with_suffix("")
    return "_".join(kept.as_posix().split())


def audio_rules(speech2text: Speech2Text, max_duration: float | None) -> AudioRules:
    """Return what audio the model can take.

    Args:
        speech2text: The recogniser.
        max_duration: Limit in seconds that the user gave.
    """
    if max_duration is None:
        max_duration = MAX_FULL_CONTEXT if speech2text.context.is_full else NO_LIMIT
    return AudioRules(fs=speech2text.fs, max_duration=max_duration)
