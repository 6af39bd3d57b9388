"""Paired tests between rows: every pair once, and only on equal ground."""

from dataclasses import replace

import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.counts import Counts
from espnet2_supernet.report.pairs import compare, compare_scores
from espnet2_supernet.report.results import collect
from espnet2_supernet.report.significance import Bootstrap

FAST = Bootstrap(resamples=200)


def test_every_pair_on_every_common_set(scored_once):
    decodes = collect([scored_once])
    pairs = compare(decodes, ["dev", "test"], FAST)
    assert [(p.test_set, p.first, p.second) for p in pairs] == [
        ("dev", "server_greedy", "device_greedy"),
        ("test", "server_greedy", "device_greedy"),
    ]
    assert all(p.test.difference < 0 and p.test.p_value < 0.05 for p in pairs)
    assert compare(decodes, ["other"], FAST) == []


def test_a_score_against_itself(scored_once):
    score = collect([scored_once])[0].score("dev")
    assert compare_scores(score, score, FAST, "x").p_value == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"utterances": dict(list(s.utterances.items())[1:])}, "different utterances"),
        (lambda s: {"speakers": dict.fromkeys(s.speakers, "s")}, "different utterances"),
        (lambda s: {"utterances": dict.fromkeys(s.utterances, Counts(1, 0, 0, 0))}, "references"),
        (lambda s: {"scorer": "sclite"}, "score both by the same"),
    ],
)
def test_unequal_ground_is_refused(scored_once, change, message):
    score = collect([scored_once])[0].score("dev")
    with pytest.raises(DataError, match=f"here: .*{message}"):
        compare_scores(score, replace(score, **change(score)), FAST, "here")
