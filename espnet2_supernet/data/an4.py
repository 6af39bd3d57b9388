"""CMU AN4 in its original distribution (SPHERE files), split as ESPnet's recipe splits it.

Utterance ids put the speaker first (``fash-an251-b`` for ``an251-fash-b.sph``). Sorted by id, the
first 100 training utterances are ``train_dev`` and the other 848 ``train_nodev`` (the split of
ESPnet's ``egs2/an4/asr1``).
"""

from __future__ import annotations

import re
from pathlib import Path

from espnet2_supernet.data.datadir import DataDir, sorted_keys
from espnet2_supernet.data.files import extract_tar, read_lines
from espnet2_supernet.data.sizes import KnownSize
from espnet2_supernet.errors import DataError

NUM_DEV_UTTERANCES = 100
_LINE = re.compile(r"^(?P<words>.*?)\s*\((?P<file>[^()\s]+)\)\s*$")
_AUDIO_DIRS = {"train": "an4_clstk", "test": "an4test_clstk"}

KNOWN_SIZES = {
    "train_nodev": KnownSize(848),
    "train_dev": KnownSize(100, 591),
    "test": KnownSize(130, 773),
}


def find_an4_root(corpus: str | Path, extract_dir: str | Path) -> Path:
    """Find the folder ``an4/``, unpacking the archive first if one is given.

    Args:
        corpus: ``an4/`` itself, a folder that holds it, or the ``.tar.gz`` archive.
        extract_dir: Where an archive is unpacked; what is already there is overwritten.

    Raises:
        DataError: If there is no AN4 distribution.
    """
    corpus = Path(corpus)
    if corpus.is_file():
        corpus = extract_tar(corpus, extract_dir)
    for root in (corpus, corpus / "an4"):
        if (root / "etc").is_dir() and (root / "wav").is_dir():
            return root.resolve()
    raise DataError(
        f"{corpus}: no AN4 distribution here (an4/etc and an4/wav are missing); "
        "give the folder 'an4' or the archive 'an4_sphere.tar.gz'"
    )


def parse_transcription(line: str, where: str) -> tuple[str, str]:
    """Split a line such as ``<s> YES </s> (an251-fash-b)``.

    Args:
        line: The line.
        where: File and line number, for messages.

    Returns:
        Words without sentence marks, and the name of the audio file without suffix.

    Raises:
        DataError: If the line has another form.
    """
    match = _LINE.match(line.strip())
    if match is None or match["file"].count("-") != 2:
        raise DataError(f"{where}: expected 'WORDS (file-speaker-take)', got '{line.strip()}'")
    words = match["words"].split()
    if words and words[0] == "<s>":
        words = words[1:]
    if words and words[-1] == "</s>":
        words = words[:-1]
    return " ".join(words), match["file"]


def read_an4_split(root: Path, split: str) -> DataDir:
    """Read ``train`` (948 utterances) or ``test`` (130).

    Args:
        root: The folder ``an4``.
        split: ``train`` or ``test``.

    Returns:
        Data directory with absolute paths of the SPHERE files.

    Raises:
        DataError: If the transcripts or an audio file are missing or disagree.
    """
    path = root / "etc" / f"an4_{split}.transcription"
    data = DataDir()
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        words, source = parse_transcription(line, f"{path}:{number}")
        first, speaker, take = source.split("-")
        utterance = f"{speaker}-{first}-{take}"
        if utterance in data.wav:
            raise DataError(f"{path}:{number}: duplicate utterance '{source}'")
        audio = root / "wav" / _AUDIO_DIRS[split] / speaker / f"{source}.sph"
        if not audio.is_file():
            raise DataError(f"{audio}: no such file, but {path}:{number} names it")
        data.wav[utterance] = str(audio)
        data.text[utterance] = words
        data.utt2spk[utterance] = speaker
    _check_fileids(root, split, data)
    return data


def _check_fileids(root: Path, split: str, data: DataDir) -> None:
    """Check that ``an4_<split>.fileids``, where present, names the same audio files."""
    path = root / "etc" / f"an4_{split}.fileids"
    if not path.exists():
        return
    listed = {line.strip().rsplit("/", 1)[-1] for line in read_lines(path) if line.strip()}
    missing = {Path(wav).stem for wav in data.wav.values()} ^ listed
    if missing:
        raise DataError(f"{path}: disagrees with the transcripts about '{min(missing)}'")


def prepare_an4(root: Path, test: bool = False, partial: bool = False) -> dict[str, DataDir]:
    """Make ESPnet's three sets.

    Args:
        root: The folder ``an4``.
        test: Whether the test set is wanted; if not, its absence is fine.
        partial: Accept any number of utterances.

    Returns:
        ``train_nodev``, ``train_dev`` and, if wanted, ``test``.

    Raises:
        DataError: If files are missing, or a set has not its published size.
    """
    train = read_an4_split(root, "train")
    keys = sorted_keys(train.wav)
    sets = {
        "train_nodev": train.select(keys[NUM_DEV_UTTERANCES:]),
        "train_dev": train.select(keys[:NUM_DEV_UTTERANCES]),
    }
    if test:
        if not (root / "etc" / "an4_test.transcription").exists():
            raise DataError(
                f"{root}: this copy of AN4 has no test set; use '--test false' or a full copy"
            )
        sets["test"] = read_an4_split(root, "test")
    if not partial:
        hint = "the copy of AN4 is incomplete; get it again or use '--partial true'"
        for name, data in sets.items():
            KNOWN_SIZES[name].check(f"{root} ({name})", data, hint)
    return sets
