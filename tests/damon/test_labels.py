"""Frame labels: runs, statistics, files, and labels that tell nothing."""

import json

import kaldiio
import numpy as np
import pytest

from espnet2_supernet.damon.labels import (
    LabelInfo,
    check_tokens,
    read_info,
    salient,
    write_labels,
)
from espnet2_supernet.errors import ConfigError, DataError

INFO = LabelInfo("teacher.pth", "server", "full context", ("<blank>", "A", "B"), 0, 40.0)


def by_definition(labels, first_n):
    """Frame by frame: salient while its place in the run is below n."""
    marks, place = [], 0
    for t, label in enumerate(labels):
        place = place + 1 if t and label == labels[t - 1] else 0
        marks.append(place < first_n)
    return marks


@pytest.mark.parametrize("first_n", [1, 2, 3, 100])
def test_the_first_frames_of_each_run_are_salient(first_n):
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.integers(0, 3, rng.integers(1, 40)).repeat(rng.integers(1, 4))
        assert salient(labels, first_n).tolist() == by_definition(labels.tolist(), first_n)


def test_blank_runs_are_runs_and_the_first_frame_is_always_salient():
    assert salient(np.array([0, 0, 0])).tolist() == [True, False, False]
    # the blank between two equal tokens stays, so that CTC can still tell them apart
    assert salient(np.array([1, 1, 0, 0, 1])).tolist() == [True, False, True, False, True]
    assert salient(np.array([], dtype=np.int32)).tolist() == []


@pytest.mark.parametrize("first_n", [0, -1, 1.5, True, "2"])
def test_first_n_is_a_whole_number(first_n):
    with pytest.raises(ConfigError, match="first_n: a whole number from 1"):
        salient(np.array([1]), first_n)


def test_kept_frames_suffice_for_the_labels_of_the_path():
    """With a perfect detector the runs hold every token, and a blank between equal ones."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        labels = rng.integers(0, 3, 30).repeat(2)
        starts = labels[salient(labels)]
        tokens = [x for x in starts if x != 0]
        repeats = sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
        assert len(starts) >= len(tokens) + repeats


def test_written_labels_come_back(tmp_path):
    table = {"a": np.array([0, 1, 1, 0]), "b": np.array([2, 2, 2]), "c": np.array([0, 0])}
    told = write_labels(tmp_path, table.items(), INFO)
    found = kaldiio.load_scp(str(tmp_path / "labels.scp"))
    for key, labels in table.items():
        np.testing.assert_array_equal(found[key], labels)
    info, statistics = read_info(tmp_path / "labels.scp")
    assert info == INFO and statistics == told
    assert (told["utterances"], told["frames"], told["runs"]) == (3, 9, 5)
    assert told["runs_of_one_frame"] == 2
    assert (told["blank_frames"], told["blank_runs"], told["all_blank_utterances"]) == (4, 3, 1)
    assert told["keep_ratio"] == {"1": 0.5556, "2": 0.8889, "3": 1.0}
    assert told["frames_per_run"] == 1.8 and told["blank_frame_ratio"] == 0.4444


def test_labels_that_tell_nothing_are_refused_and_leave_the_old_ones(tmp_path):
    write_labels(tmp_path, [("a", np.array([0, 1]))], INFO)
    before = (tmp_path / "labels.ark").read_bytes()
    with pytest.raises(DataError, match="'server' says blank in all 5 frames of 2 utterances"):
        write_labels(tmp_path, [("a", np.zeros(3)), ("b", np.zeros(2))], INFO)
    with pytest.raises(DataError, match="no frame to label"):
        write_labels(tmp_path, [], INFO)
    assert (tmp_path / "labels.ark").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.ark", "labels.json", "labels.scp"]


def test_another_token_list_is_refused():
    check_tokens(INFO, ["<blank>", "A", "B"], "exp/asr")
    with pytest.raises(ConfigError, match="number 2 is 'B' and 'C'"):
        check_tokens(INFO, ["<blank>", "A", "C"], "exp/asr")
    with pytest.raises(ConfigError, match="3 and 2 tokens; number 2 is 'B' and 'none'"):
        check_tokens(INFO, ["<blank>", "A"], "exp/asr")


def test_a_missing_or_foreign_description_is_named(tmp_path):
    with pytest.raises(DataError, match="labels.json: no such file"):
        read_info(tmp_path / "labels.scp")
    for text in ("{", "[]", json.dumps({"statistics": {}, "tokens": []})):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(DataError, match="not the description of labels"):
            read_info(tmp_path / "labels.scp")
