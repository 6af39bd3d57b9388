import hashlib
import random
from pathlib import Path

import pytest
import soundfile

from espnet2_supernet.data.mini_speech import (
    COMMANDS,
    DIGITS,
    LETTERS,
    VOICES,
    deal,
    plan_split,
    prepare_mini_speech,
    spoken,
)
from espnet2_supernet.errors import DataError

SIZES = {"train": 2, "dev": 1, "test": 1}


def digests(sets):
    return {
        key: hashlib.md5(Path(path).read_bytes()).hexdigest()
        for data in sets.values()
        for key, path in data.wav.items()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    return folder, prepare_mini_speech(folder, SIZES, nj=1)


def test_bit_equal_in_another_folder_and_with_other_processes(corpus, tmp_path):
    assert digests(prepare_mini_speech(tmp_path, SIZES, nj=2)) == digests(corpus[1])


def test_another_seed_is_another_corpus(corpus, tmp_path):
    other = prepare_mini_speech(tmp_path, {"dev": 1}, seed=1)
    assert not set(digests(other).values()) & set(digests(corpus[1]).values())


def test_audio(corpus):
    for data in corpus[1].values():
        for path in data.wav.values():
            samples, fs = soundfile.read(path)
            assert fs == 16000 and soundfile.info(path).format == "FLAC"
            assert 0.5 < len(samples) / fs < 4.0
            assert 0.19 < abs(samples).max() < 0.81


def test_rerun_keeps_the_files_and_mends_a_lost_one(corpus):
    folder, sets = corpus
    before = digests(sets)
    lost = Path(next(iter(sets["test"].wav.values())))
    kept = Path(next(iter(sets["train"].wav.values())))
    time = kept.stat().st_mtime_ns
    lost.unlink()
    assert digests(prepare_mini_speech(folder, SIZES)) == before
    assert kept.stat().st_mtime_ns == time


def test_voices_are_disjoint():
    variants = {split: {variant for _, variant in voices} for split, voices in VOICES.items()}
    assert not variants["train"] & (variants["dev"] | variants["test"])
    assert not variants["dev"] & variants["test"]


def test_plan_covers_all_words_evenly():
    plan = plan_split("train", 500, 0, "x")
    utterances = [utterance for speaker in plan for utterance in speaker.utterances]
    counts = {word: 0 for word in (*LETTERS, *DIGITS, *COMMANDS)}
    for utterance in utterances:
        for word in utterance.words:
            counts[word] += 1
    assert len(utterances) == len({utterance.key for utterance in utterances}) == 500
    assert min(counts.values()) >= 15


def test_deal_gives_each_word_equally_often():
    deck = deal("abc", random.Random(0))
    assert sorted(next(deck) for _ in range(6)) == list("aabbcc")


def test_letter_a_is_no_article():
    assert spoken(("A", "B", "STOP")) == "[['eI]] B stop"


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match="no split 'valid'"):
        prepare_mini_speech(tmp_path, {"valid": 3})
