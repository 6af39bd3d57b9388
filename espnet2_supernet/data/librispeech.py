"""Any folder in LibriSpeech layout: ``<subset>/<reader>/<chapter>/<reader>-<chapter>-<n>.flac``.

As in ESPnet's recipe the speaker of an utterance is ``<reader>-<chapter>``: statistics per speaker
are taken per chapter. Hold-outs (:func:`split_readers`) nevertheless go by reader.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.data.datadir import DataDir, read_table
from espnet2_supernet.data.sets import combine
from espnet2_supernet.data.sizes import KnownSize
from espnet2_supernet.errors import DataError

KNOWN_SIZES = {
    "dev-clean": KnownSize(2703, 54402),
    "dev-other": KnownSize(2864, 50948),
    "test-clean": KnownSize(2620, 52576),
    "test-other": KnownSize(2939, 52343),
    "train-clean-100": KnownSize(28539),
    "train-clean-360": KnownSize(104014),
    "train-other-500": KnownSize(148688),
}


def find_subset(corpus: str | Path, subset: str) -> Path:
    """Find the folder of a subset.

    Args:
        corpus: The folder above ``LibriSpeech/`` (ESPnet's ``$LIBRISPEECH``), or that folder.
        subset: A published name such as ``train-clean-100``, or any folder of your own.

    Raises:
        DataError: If there is none; the folders that do exist are named.
    """
    corpus = Path(corpus)
    roots = [root for root in (corpus / "LibriSpeech", corpus) if root.is_dir()]
    for root in roots:
        if (root / subset).is_dir():
            return (root / subset).resolve()
    there = sorted(p.name for p in roots[0].iterdir() if p.is_dir()) if roots else []
    found = f"folders found: {', '.join(there)}" if there else "the folder is missing or empty"
    raise DataError(f"{corpus}: no subset '{subset}' in LibriSpeech layout; {found}")


def read_chapter(transcript: Path) -> DataDir:
    """Read one chapter.

    Args:
        transcript: ``<reader>-<chapter>.trans.txt``.

    Raises:
        DataError: If an utterance has no audio, an audio file no transcript, or an id does not
            belong to the chapter.
    """
    chapter = transcript.name.removesuffix(".trans.txt")
    if transcript.parent.parts[-2:] != tuple(chapter.split("-")):
        raise DataError(f"{transcript}: expected in a folder <reader>/<chapter> of the same name")
    text = read_table(transcript, allow_empty=True)
    audio = {path.stem: str(path) for path in transcript.parent.glob("*.flac")}
    for utterance in text:
        if utterance not in audio:
            raise DataError(f"{transcript}: utterance '{utterance}' has no .flac file beside it")
        if utterance.rsplit("-", 1)[0] != chapter:
            raise DataError(f"{transcript}: utterance '{utterance}' is not of this chapter")
    for utterance in audio:
        if utterance not in text:
            raise DataError(f"{audio[utterance]}: not in {transcript.name}; its words are unknown")
    return DataDir({key: audio[key] for key in text}, text, dict.fromkeys(text, chapter))


def read_chapter_audio(folder: Path) -> DataDir:
    """Read the audio of one chapter; a transcript is neither needed nor read.

    Args:
        folder: ``.../<reader>/<chapter>``.

    Raises:
        DataError: If the name of an audio file does not belong to the chapter.
    """
    chapter = f"{folder.parent.name}-{folder.name}"
    audio = {path.stem: str(path) for path in folder.glob("*.flac")}
    for utterance, path in audio.items():
        if utterance.rsplit("-", 1)[0] != chapter:
            raise DataError(f"{path}: expected a name {chapter}-<number>.flac")
    return DataDir(audio, {}, dict.fromkeys(audio, chapter))


def read_subset(folder: Path, partial: bool = False, audio_only: bool = False) -> DataDir:
    """Read one subset.

    Args:
        folder: E.g. ``.../LibriSpeech/dev-clean``.
        partial: Do not compare with the published size (names that are not published have none).
        audio_only: Neither need nor read transcripts.

    Raises:
        DataError: If a chapter is damaged or the subset has not its published size.
    """
    chapters = [path for path in folder.glob("*/*") if path.is_dir()]
    parts = []
    for chapter in sorted(chapters):
        transcript = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
        if audio_only:
            parts.append((str(chapter), read_chapter_audio(chapter)))
        elif transcript.exists():
            parts.append((str(chapter), read_chapter(transcript)))
        elif any(chapter.iterdir()):
            raise DataError(f"{transcript}: no such file; the copy of the corpus is incomplete")
    data = combine(parts)
    if not len(data):
        raise DataError(f"{folder}: no utterance in LibriSpeech layout (<reader>/<chapter>/*.flac)")
    known = KNOWN_SIZES.get(folder.name)
    if known is not None and not partial:
        known.check(
            str(folder), data, "get the subset again, or say '--partial true' if it is an excerpt"
        )
    return data


def prepare_librispeech(
    corpus: str | Path, subsets: Sequence[str], partial: bool = False, audio_only: bool = False
) -> DataDir:
    """Read subsets and join them.

    Args:
        corpus: See :func:`find_subset`.
        subsets: One or more subset names.
        partial: The corpus is an excerpt: accept any number of utterances.
        audio_only: Neither need nor read transcripts.

    Raises:
        DataError: See :func:`read_subset`.
    """
    folders = [(name, find_subset(corpus, name)) for name in subsets]
    return combine([(name, read_subset(folder, partial, audio_only)) for name, folder in folders])


def split_readers(data: DataDir, num_readers: int, seed: int = 0) -> tuple[DataDir, DataDir]:
    """Hold out readers for validation, the same ones for the same seed on every machine.

    Args:
        data: Utterances with ids ``<reader>-<chapter>-<n>``.
        num_readers: How many readers to hold out.
        seed: Seed of the draw.

    Returns:
        The rest, and the held-out utterances.

    Raises:
        DataError: If no reader would be left on one side.
    """
    readers = sorted({key.split("-", 1)[0] for key in data.wav})
    if not 0 < num_readers < len(readers):
        raise DataError(
            f"cannot hold out {num_readers} of {len(readers)} readers; "
            f"choose between 1 and {len(readers) - 1}"
        )
    held = set(random.Random(seed).sample(readers, num_readers))
    is_held = {key: key.split("-", 1)[0] in held for key in data.wav}
    return (
        data.select(key for key in data.wav if not is_held[key]),
        data.select(key for key in data.wav if is_held[key]),
    )
