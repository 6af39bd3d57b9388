"""Scoring one set: files written, checks made, scorer chosen."""

import json

import pytest

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report import scoring
from espnet2_supernet.report.sclite import find_sclite
from espnet2_supernet.report.scoring import (
    PYTHON,
    SCLITE,
    Transcripts,
    choose_scorer,
    read_transcripts,
    score_set,
)
from espnet2_supernet.report.significance import Bootstrap

FAST = Bootstrap(resamples=100)
PROGRAMS = [
    None,
    pytest.param(
        find_sclite(),
        marks=pytest.mark.skipif(find_sclite() is None, reason="sclite is not installed"),
    ),
]


@pytest.fixture
def three():
    return Transcripts(
        {"b-2": "x (y) z", "a-1": "ONE two", "a-2": "three"},
        {"b-2": "x (y) w", "a-1": "one two", "a-2": ""},
        {"b-2": "b", "a-1": "a", "a-2": "a"},
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_files_and_totals(tmp_path, three, program):
    score = score_set(three, tmp_path, "wer", program, FAST, "the command", {"ref": "r"})
    assert score.scorer == (SCLITE if program else PYTHON)
    assert score.total.error_rate == pytest.approx(100 * 2 / 6)
    assert score.sentence_errors == 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["hyp.trn", "ref.trn", "result.txt", "summary.json"]
    assert "x <lparen>y<rparen> w (b-b-2)" in (tmp_path / "hyp.trn").read_text()
    assert "\n(a-a-2)\n" in (tmp_path / "hyp.trn").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["errors"], summary["tokens"], summary["sentences"]) == (2, 6, 3)
    assert (summary["substitutions"], summary["deletions"], summary["insertions"]) == (1, 1, 0)
    assert summary["utterances"]["a-2"] == {
        "speaker": "a", "correct": 0, "substitutions": 0, "deletions": 1, "insertions": 0,
    }  # fmt: skip
    assert summary["interval"]["low"] <= summary["error_rate"] <= summary["interval"]["high"]
    assert summary["command"] == "the command"


@pytest.mark.parametrize("program", PROGRAMS)
def test_characters(tmp_path, three, program):
    score = score_set(three, tmp_path, "cer", program, FAST)
    assert score.total.reference_length == len("ONE two") + len("three") + len("x (y) z")
    assert score.total.errors == 1 + len("three")


def test_a_failure_leaves_no_summary(tmp_path, three):
    score_set(three, tmp_path, "wer", None, FAST)
    three.hypothesis["a-1"] = "<at>"
    with pytest.raises(DataError):
        score_set(three, tmp_path, "wer", None, FAST)
    assert not (tmp_path / "summary.json").exists()


def test_scorer_is_chosen_or_its_absence_told(monkeypatch, tmp_path):
    assert choose_scorer("python") is None
    with pytest.raises(ConfigError, match="'perl' is unknown"):
        choose_scorer("perl")
    monkeypatch.setattr(scoring, "find_sclite", lambda: None)
    assert choose_scorer("auto") is None
    with pytest.raises(ConfigError, match="apt-get install sctk"):
        choose_scorer("sclite")
    monkeypatch.setattr(scoring, "find_sclite", lambda: tmp_path / "sclite")
    assert choose_scorer("auto") == choose_scorer("sclite") == tmp_path / "sclite"


@pytest.mark.parametrize(
    ("hypothesis", "utt2spk", "message"),
    [
        ("a x\n", "a s\nb s\n", "hyp: .*1 missing: b"),
        ("a x\nb y\nc z\n", "a s\nb s\n", "hyp: .*1 extra: c"),
        ("a x\nb y\n", "a s\n", "utt2spk: .*1 missing: b"),
        ("a x\nb y\na z\n", "a s\nb s\n", "duplicate ids: a"),
    ],
)
def test_ids_are_compared_first(tmp_path, hypothesis, utt2spk, message):
    (tmp_path / "ref").write_text("a x\nb y\n")
    (tmp_path / "hyp").write_text(hypothesis)
    (tmp_path / "utt2spk").write_text(utt2spk)
    with pytest.raises(DataError, match=message):
        read_transcripts(tmp_path / "ref", tmp_path / "hyp", tmp_path / "utt2spk")


def test_a_reference_without_words_is_refused(tmp_path):
    for name, text in (("ref", "a\nb\n"), ("hyp", "a\nb x\n"), ("utt2spk", "a s\nb s\n")):
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="no words"):
        read_transcripts(tmp_path / "ref", tmp_path / "hyp", tmp_path / "utt2spk")
