"""sclite: where it is found, what it prints, and that it agrees with an independent scorer."""

import os

import numpy as np
import pytest

from espnet2_supernet.errors import DataError, SupernetError
from espnet2_supernet.report import sclite
from espnet2_supernet.report.align import check_counts, count_errors
from espnet2_supernet.report.counts import Counts, sum_counts
from espnet2_supernet.report.sclite import find_sclite, parse_sum_row, parse_utterances, run_sclite
from espnet2_supernet.report.trn import MARKUP, tokenize, trn_ids, write_trn

PROGRAM = find_sclite()
needs_sclite = pytest.mark.skipif(PROGRAM is None, reason="sclite is not installed")

RESULT = """
  | SPKR   | # Snt # Wrd | Corr    Sub    Del    Ins    Err  S.Err |
  | Sum/Avg|    2      4 |100.0    0.0    0.0   25.0   25.0   50.0 |
  | SPKR | # Snt # Wrd | Corr    Sub    Del    Ins    Err  S.Err |
  | Sum  |    2      4 |    4      0      0      1      1      1 |
id: (s-u1)
Scores: (#C #S #D #I) 2 0 0 1
id: (s-u2)
Scores: (#C #S #D #I) 2 0 0 0
"""


def executable(path):
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return path


def score(folder, reference, hypothesis, token_type="wer"):
    folder.mkdir(exist_ok=True)
    names = trn_ids({key: key.split("-")[0] for key in reference})
    sides = [{key: tokenize(text, token_type) for key, text in side.items()}
             for side in (reference, hypothesis)]  # fmt: skip
    for name, side in zip(("ref.trn", "hyp.trn"), sides, strict=True):
        write_trn(folder / name, side, names)
    return *sides, run_sclite(PROGRAM, folder, names)


def test_search_order(tmp_path, monkeypatch):
    on_path = executable(tmp_path / "path" / "sclite")
    debian = executable(tmp_path / "debian" / "sclite")
    espnet = executable(tmp_path / "espnet" / "tools" / "sctk" / "bin" / "sclite")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path / "espnet"))
    monkeypatch.setattr(sclite, "DEBIAN_FOLDER", debian.parent)
    for expected in (on_path, debian, espnet):
        assert find_sclite() == expected
        os.remove(expected)
    assert find_sclite() is None


def test_absence_is_told_with_the_way_to_get_it():
    assert "package 'sctk'" in sclite.HOW_TO_GET
    assert "ESPNET_ROOT" in sclite.HOW_TO_GET
    assert "unrelated" in sclite.HOW_TO_GET


def test_a_failing_program_is_an_error(tmp_path):
    with pytest.raises(SupernetError, match="status 3"):
        run_sclite(executable(tmp_path / "bin" / "sclite"), tmp_path, {})


def test_both_tables_and_the_utterances_are_parsed():
    row = parse_sum_row(RESULT, "x")
    assert (row.sentences, row.tokens, row.sentence_errors) == (2, 4, 1)
    assert row.counts == Counts(4, 0, 0, 1)
    assert row.percentages == (100.0, 0.0, 0.0, 25.0, 25.0, 50.0)
    counts = parse_utterances(RESULT, {"u2": "S-u2", "u1": "s-U1"}, "x")
    assert list(counts.items()) == [("u2", Counts(2, 0, 0, 0)), ("u1", Counts(2, 0, 0, 1))]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Sum/Avg", "", "no Sum row"),
        ("| Sum  |", "", "no Sum row"),
        ("4      0      0      1      1", "4      0      0      1      2", "add up"),
        ("4      0      0      1      1      1", "4      0", "cannot read"),
        ("100.0    0.0", "100.0", "add up"),
    ],
)
def test_damaged_tables_are_refused(old, new, message):
    with pytest.raises(DataError, match=message):
        parse_sum_row(RESULT.replace(old, new), "x")


def test_an_utterance_that_sclite_dropped_is_an_error():
    with pytest.raises(DataError, match="missing: u3"):
        parse_utterances(RESULT, {"u1": "s-u1", "u2": "s-u2", "u3": "s-u3"}, "x")
    with pytest.raises(DataError, match="2 utterances scored, 1 expected"):
        parse_utterances(RESULT, {"u1": "s-u1"}, "x")


@needs_sclite
def test_known_counts(tmp_path):
    reference = {"a-1": "the cat sat", "a-2": "a b c", "b-1": "X y", "b-2": "one"}
    hypothesis = {"a-1": "the cat sit", "a-2": "", "b-1": "x y z", "b-2": "one"}
    _, _, counts = score(tmp_path, reference, hypothesis)
    assert counts == {
        "a-1": Counts(2, 1, 0, 0),
        "a-2": Counts(0, 0, 3, 0),
        "b-1": Counts(2, 0, 0, 1),
        "b-2": Counts(1, 0, 0, 0),
    }
    row = parse_sum_row((tmp_path / "result.txt").read_text(), "x")
    assert row.percentages == (55.6, 11.1, 33.3, 11.1, 55.6, 75.0)


@needs_sclite
@pytest.mark.parametrize("token_type", ["wer", "cer"])
def test_agrees_with_the_fallback_on_speech_like_errors(tmp_path, token_type):
    rng = np.random.default_rng(0)
    words = "ALPHA bravo charlie delta \u00c9t\u00e9 it's two-fold <unk>".split()
    reference, hypothesis = {}, {}
    for i in range(300):
        spoken = [str(word) for word in rng.choice(words, rng.integers(1, 15))]
        heard = [str(rng.choice(words)) if rng.uniform() < 0.1 else word
                 for word in spoken if rng.uniform() > 0.05]  # fmt: skip
        key = f"{i % 7}-{i % 3}-{i:04d}"
        reference[key], hypothesis[key] = " ".join(spoken), " ".join(heard)
    ref, hyp, counts = score(tmp_path, reference, hypothesis, token_type)
    check_counts(ref, hyp, counts)
    ours = {key: count_errors(ref[key], hyp[key]) for key in ref}
    # Equal totals but for the rare utterance where sclite's weights prefer one more error.
    extra = [counts[key].errors - ours[key].errors for key in ref]
    assert min(extra) >= 0
    assert sum(extra) <= 0.01 * sum_counts(ours.values()).errors
    assert extra.count(0) >= 0.98 * len(extra)


@needs_sclite
def test_where_the_weights_of_sclite_give_a_higher_total(tmp_path):
    # 5 substitutions cost 20; 3 insertions + 2 correct + 3 deletions cost 18.
    reference, hypothesis = {"s-1": "a b c d e"}, {"s-1": "d e x y z"}
    ref, hyp, counts = score(tmp_path, reference, hypothesis)
    check_counts(ref, hyp, counts)
    assert counts["s-1"] == Counts(2, 0, 3, 3)
    assert count_errors(ref["s-1"], hyp["s-1"]).errors == 5


@needs_sclite
@pytest.mark.parametrize("character", sorted(MARKUP) + list("/-%<>[]&^~#\"'_:.,?!|+="))
def test_no_character_changes_the_count(tmp_path, character):
    c = character
    words = {"s-1": f"{c} w", "s-2": f"a{c}b w", "s-3": f"{c}a w", "s-4": f"w {c}",
             "s-5": f"({c}) w", "s-6": f"{c}{c}{c} w"}  # fmt: skip
    _, _, same = score(tmp_path, words, words)
    assert all(counts == Counts(2, 0, 0, 0) for counts in same.values())
    other = dict.fromkeys(words, "v w")
    other["s-4"] = "w v"
    _, _, wrong = score(tmp_path, words, other)
    assert all(counts == Counts(1, 1, 0, 0) for counts in wrong.values())
    _, _, deleted = score(tmp_path, words, dict.fromkeys(words, "w"))
    assert all(counts == Counts(1, 0, 1, 0) for counts in deleted.values())


@needs_sclite
def test_a_long_utterance_and_a_large_count_keep_their_columns(tmp_path):
    reference = {"s-1": "a " * 3000, "s-2": "b " * 900}
    hypothesis = {"s-1": "a " * 2999, "s-2": "c " * 900}
    ref, hyp, counts = score(tmp_path, reference, hypothesis)
    check_counts(ref, hyp, counts)
    assert counts == {"s-1": Counts(2999, 0, 1, 0), "s-2": Counts(0, 900, 0, 0)}
