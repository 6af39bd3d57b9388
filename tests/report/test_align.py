"""The fallback scorer, and the oracle for sclite's alignment cost."""

import numpy as np
import pytest

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.align import check_counts, count_errors
from espnet2_supernet.report.counts import Counts, sum_counts


def edit_distance(reference, hypothesis):
    """Textbook dynamic programme, independent of any library."""
    row = list(range(len(hypothesis) + 1))
    for i, a in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(previous + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", Counts(3, 0, 0, 0)),
        ("a b c", "a x c", Counts(2, 1, 0, 0)),
        ("a b c", "a c", Counts(2, 0, 1, 0)),
        ("a c", "a b c", Counts(2, 0, 0, 1)),
        ("a b", "", Counts(0, 0, 2, 0)),
        ("", "a b", Counts(0, 0, 0, 2)),
        ("", "", Counts(0, 0, 0, 0)),
        ("A b", "a B", Counts(2, 0, 0, 0)),
        ("\u00c9", "\u00e9", Counts(0, 1, 0, 0)),
    ],
)
def test_counts_of_known_pairs(reference, hypothesis, expected):
    assert count_errors(reference.split(), hypothesis.split()) == expected


def test_counts_are_minimal_and_consistent_on_random_text():
    rng = np.random.default_rng(0)
    for _ in range(200):
        reference, hypothesis = (list(rng.choice(list("abcd"), rng.integers(0, 12))) for _ in "ab")
        counts = count_errors(reference, hypothesis)
        assert counts.errors == edit_distance(reference, hypothesis)
        assert counts.reference_length == len(reference)
        assert counts.hypothesis_length == len(hypothesis)


def test_oracle_accepts_every_split_of_equal_cost_and_refuses_others():
    reference, hypothesis = {"u": ["a", "b"]}, {"u": ["b", "c"]}
    check_counts(reference, hypothesis, {"u": Counts(1, 0, 1, 1)})  # cost 6 < 2 substitutions
    with pytest.raises(DataError, match="'u'.*disagree"):
        check_counts(reference, hypothesis, {"u": Counts(0, 2, 0, 0)})
    with pytest.raises(DataError, match="'u'.*disagree"):
        check_counts(reference, hypothesis, {"u": Counts(2, 0, 0, 0)})


def test_rates_and_sums():
    total = sum_counts([Counts(3, 1, 0, 2), Counts(4, 0, 2, 0)])
    assert total == Counts(7, 1, 2, 2)
    assert total.error_rate == pytest.approx(50.0)
    assert Counts(0, 0, 0, 0).error_rate == 0.0
    assert Counts(0, 0, 0, 1).error_rate == float("inf")


def test_counts_from_a_damaged_summary_are_refused():
    good = {"correct": 1, "substitutions": 0, "deletions": 0, "insertions": 0}
    assert Counts.from_dict(good, "x") == Counts(1, 0, 0, 0)
    with pytest.raises(DataError, match="x: 'deletions'"):
        Counts.from_dict({**good, "deletions": -1}, "x")
