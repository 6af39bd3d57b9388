"""Bad training data: named before training starts, or when the sound is loaded."""

import argparse
import re
import shutil

import numpy as np
import pytest
import soundfile
from espnet2.train import dataset, iterable_dataset

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.tasks.training_data import (
    SoundTable,
    check_training_data,
    checked_sounds,
    load_sound,
    sampling_rate,
)


@pytest.fixture
def corpus(tiny_corpus, tmp_path):
    """Copy the tables, so that a test may spoil them."""
    for name in ("train", "valid"):
        shutil.copytree(
            tiny_corpus.root / name, tmp_path / name, ignore=shutil.ignore_patterns("*.wav")
        )
    return tmp_path


def options(root, collect_stats=False, **changes) -> argparse.Namespace:
    given = {"collect_stats": collect_stats, "iterator_type": "sequence"}
    for name in ("train", "valid"):
        given[f"{name}_data_path_and_name_and_type"] = [
            (str(root / name / "wav.scp"), "speech", "sound"),
            (str(root / name / "text"), "text", "text"),
        ]
        given[f"{name}_shape_file"] = [str(root / name / "speech_shape")]
    return argparse.Namespace(**{**given, **changes})


def without(path, key):
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if line.split()[0] != key))


SPOILT = {
    "missing": (lambda p: (p / "wav.scp").unlink(), r"wav\.scp: no such file"),
    "empty": (lambda p: (p / "text").write_text(""), "text: the file is empty"),
    "binary": (lambda p: (p / "text").write_bytes(b"train0 \xff\n"), "text:1: not UTF-8"),
    "id_not_in_text": (lambda p: without(p / "text", "train3"), "text: 1 utter.*train3"),
    "id_not_in_wav": (lambda p: without(p / "wav.scp", "train3"), r"wav\.scp: 1 utter.*train3"),
    "duplicate": (
        lambda p: (p / "text").write_text((p / "text").read_text() + "train0 A\n"),
        "text:9: duplicate utterance id 'train0'",
    ),
    "no_words": (
        lambda p: (p / "text").write_text(re.sub("train3 .*", "train3", (p / "text").read_text())),
        "1 transcript.*without words, e.g. of utterance 'train3'.*data filter",
    ),
    "other_shapes": (
        lambda p: (p / "speech_shape").write_text("ghost 8000\n"),
        "speech_shape: utterance 'ghost' is not in",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_table_is_named(corpus, kind):
    check_training_data(options(corpus))
    spoil, message = SPOILT[kind]
    spoil(corpus / "train")
    with pytest.raises(DataError, match=message):
        check_training_data(options(corpus))


def test_statistics_need_one_order(corpus):
    path = corpus / "train" / "text"
    path.write_text("".join(f"{line}\n" for line in reversed(path.read_text().splitlines())))
    check_training_data(options(corpus))
    with pytest.raises(DataError, match="text: not in the order of .*wav.scp; sort both"):
        check_training_data(options(corpus, collect_stats=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_data_path_and_name_and_type": []}, "train_data.*'speech' is missing.*nothing"),
        ({"valid_data_path_and_name_and_type": [("w", "speech", "sound")]}, "'text' is missing"),
        (
            {"train_data_path_and_name_and_type": [("w", "spech", "sound"), ("t", "text", "text")]},
            "'speech' is missing .given: spech, text",
        ),
        (
            {"train_data_path_and_name_and_type": [("w", "speech", "sund"), ("t", "text", "text")]},
            "unknown key 'sund'; did you mean 'sound'",
        ),
        ({"valid_shape_file": []}, "valid_shape_file: not given; --collect_stats"),
    ],
)
def test_a_wrong_option_is_named(corpus, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_training_data(options(corpus, **changes))


BAD_SOUNDS = {
    "rate": (np.zeros(800), 8000, "sampling rate 8000 Hz, 16000 expected"),
    "stereo": (np.zeros((800, 2)), 16000, "2 channels"),
    "zero_length": (np.zeros(0), 16000, "no samples"),
    "nan": (np.full(800, np.nan), 16000, "NaN"),
    "truncated": (np.ones(800), 16000, "truncated"),
    "empty": (None, 0, "the file is empty"),
    "unreadable": (None, 9, "unreadable audio"),
    "missing": (None, -1, "no such audio file"),
}


@pytest.mark.parametrize("kind", BAD_SOUNDS)
def test_a_bad_sound_is_named_with_its_utterance(tmp_path, kind):
    samples, rate, message = BAD_SOUNDS[kind]
    path = tmp_path / "bad.wav"
    if samples is not None:
        soundfile.write(path, samples, rate, subtype="FLOAT")
    elif rate >= 0:
        path.write_bytes(b"no audio!"[:rate])
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:900])
    (tmp_path / "wav.scp").write_text(f"u1 {path}\n")
    with pytest.raises(DataError, match=f"utterance 'u1': .*bad.wav: .*{message}.*data format"):
        SoundTable(tmp_path / "wav.scp", 16000)["u1"]
    with pytest.raises(DataError, match=f"bad.wav: .*{message}"):
        load_sound(str(path), 16000)


def test_good_sounds_are_what_espnet_reads(tiny_corpus):
    scp = str(tiny_corpus.root / "train" / "wav.scp")
    theirs = dataset.DATA_TYPES["sound"]["func"](scp, float_dtype="float32")
    saved = dataset.DATA_TYPES["sound"], iterable_dataset.DATA_TYPES["sound"]
    with checked_sounds(16000):
        ours = dataset.DATA_TYPES["sound"]["func"](scp)
        assert list(ours) == list(theirs) and len(ours) == 8
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
        path = ours.paths["train0"]
        assert np.array_equal(iterable_dataset.DATA_TYPES["sound"](path), saved[1](path))
    assert (dataset.DATA_TYPES["sound"], iterable_dataset.DATA_TYPES["sound"]) == saved


def test_sampling_rate_of_the_front_end():
    for given, rate in (({}, 16000), ({"fs": 8000}, 8000), ({"fs": "16k"}, 16000), (None, 16000)):
        assert sampling_rate(argparse.Namespace(frontend_conf=given)) == rate
    with pytest.raises(ConfigError, match="frontend_conf.fs: 'fast'"):
        sampling_rate(argparse.Namespace(frontend_conf={"fs": "fast"}))
