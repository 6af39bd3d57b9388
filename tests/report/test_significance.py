"""Bootstrap: coverage on data of known rate, and the paired test at its extremes."""

import numpy as np
import pytest

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.significance import (
    Bootstrap,
    bootstrap_interval,
    choose_unit,
    holm,
    paired_bootstrap,
)

FAST = Bootstrap(unit="utterance", resamples=1000, seed=0)


def simulate(rng, utterances, rate, spread=0.1, speakers=None):
    """Errors, lengths, speakers; the rate of a speaker (or utterance) varies around ``rate``."""
    names = np.arange(utterances) if speakers is None else np.arange(utterances) % speakers
    rates = np.clip(rate + spread * rng.uniform(-1, 1, names.max() + 1), 0, 1)[names]
    lengths = rng.integers(5, 25, utterances)
    return rng.binomial(lengths, rates), lengths, [f"s{name}" for name in names]


def coverage(unit, speakers, runs=200):
    rng = np.random.default_rng(1)
    method = Bootstrap(unit=unit, resamples=400)
    hits = 0
    for _ in range(runs):
        interval = bootstrap_interval(*simulate(rng, 240, 0.2, speakers=speakers), method)
        hits += interval.low <= 20.0 <= interval.high
    return hits / runs


def test_interval_over_utterances_covers_the_true_rate():
    assert 0.90 <= coverage("utterance", None) <= 0.99


def test_only_the_interval_over_speakers_covers_when_speakers_differ():
    assert coverage("speaker", 30) >= 0.88
    assert coverage("utterance", 30) < coverage("speaker", 30) - 0.05


def test_interval_contains_the_rate_is_reproducible_and_shrinks():
    rng = np.random.default_rng(2)
    errors, lengths, speakers = simulate(rng, 1000, 0.1)
    interval = bootstrap_interval(errors, lengths, speakers, FAST)
    assert interval == bootstrap_interval(errors, lengths, speakers, FAST)
    assert interval.low < 100 * errors.sum() / lengths.sum() < interval.high
    few = bootstrap_interval(errors[:50], lengths[:50], speakers[:50], FAST)
    assert few.high - few.low > 2 * (interval.high - interval.low)
    assert (interval.unit, interval.units, interval.resamples) == ("utterance", 1000, 1000)


def test_result_does_not_depend_on_the_block_size(monkeypatch):
    rng = np.random.default_rng(3)
    data = simulate(rng, 40, 0.1)
    whole = bootstrap_interval(*data, FAST)
    monkeypatch.setattr("espnet2_supernet.report.significance._MAX_DRAWN", 1234)
    assert bootstrap_interval(*data, FAST) == whole


def test_identical_systems_do_not_differ():
    errors, lengths, speakers = simulate(np.random.default_rng(4), 100, 0.1)
    test = paired_bootstrap(errors, errors, lengths, speakers, FAST)
    assert test.p_value == 1.0
    assert test.difference == test.interval.low == test.interval.high == 0.0


def test_systems_of_equal_rate_are_rarely_called_different():
    rng = np.random.default_rng(5)
    method = Bootstrap(unit="utterance", resamples=400)
    small = 0
    for _ in range(200):
        a, lengths, speakers = simulate(rng, 100, 0.15)
        b = rng.binomial(lengths, 0.15)
        small += paired_bootstrap(a, b, lengths, speakers, method).p_value < 0.05
    assert small / 200 <= 0.11


def test_a_large_difference_has_a_tiny_p_value_and_a_sign():
    rng = np.random.default_rng(6)
    a, lengths, speakers = simulate(rng, 300, 0.4)
    b, _, _ = simulate(rng, 300, 0.1)
    b = np.minimum(b, lengths)
    test = paired_bootstrap(a, b, lengths, speakers, FAST)
    assert test.p_value == pytest.approx(2 / 1001)
    assert 0 < test.interval.low < test.difference < test.interval.high
    mirrored = paired_bootstrap(b, a, lengths, speakers, FAST)
    assert mirrored.difference == -test.difference
    assert mirrored.p_value == test.p_value


def test_pairing_finds_what_two_separate_intervals_hide():
    rng = np.random.default_rng(7)
    a, lengths, speakers = simulate(rng, 200, 0.3, spread=0.3)
    b = a + (rng.uniform(size=200) < 0.2)  # one more error in a fifth of the utterances
    first, second = (bootstrap_interval(x, lengths, speakers, FAST) for x in (a, b))
    assert first.high > second.low
    assert paired_bootstrap(b, a, lengths, speakers, FAST).p_value < 0.01


def test_auto_takes_speakers_from_twenty_on():
    assert choose_unit("auto", [f"s{i % 19}" for i in range(100)]) == "utterance"
    assert choose_unit("auto", [f"s{i % 20}" for i in range(100)]) == "speaker"
    assert choose_unit("speaker", ["s"]) == "speaker"


def test_fewer_than_two_units_give_nothing():
    assert bootstrap_interval([1], [5], ["s"], FAST) is None
    one_speaker = Bootstrap(unit="speaker", resamples=100)
    assert bootstrap_interval([1, 2], [5, 5], ["s", "s"], one_speaker) is None
    assert paired_bootstrap([1], [2], [5], ["s"], FAST) is None


def test_holm_against_its_definition():
    # Reject while p(k) <= alpha / (m - k), k from 0 in rising order; a corrected value is the
    # smallest alpha at which its test is rejected.
    given = [0.011, 0.4, 0.0004, 0.04, 0.04]
    corrected = holm(given)
    for alpha in np.linspace(0.0005, 1.0, 400):
        rejected = set()
        for k, index in enumerate(np.argsort(given, kind="stable")):
            if given[index] > alpha / (len(given) - k):
                break
            rejected.add(int(index))
        assert rejected == {i for i, p in enumerate(corrected) if p <= alpha}, alpha
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_empty_references_are_drawn_without_a_warning():
    interval = bootstrap_interval([1, 0], [0, 2], ["a", "b"], FAST)
    assert np.isfinite([interval.low, interval.high]).all()


@pytest.mark.parametrize(
    ("errors", "lengths", "message"),
    [([1], [1, 2], "differ in number"), ([1, 1], [0, 0], "no reference token")],
)
def test_bad_counts_are_refused(errors, lengths, message):
    with pytest.raises(DataError, match=message):
        bootstrap_interval(errors, lengths, ["a", "b"], FAST)


@pytest.mark.parametrize(
    "values",
    [{"unit": "word"}, {"resamples": 10}, {"confidence": 1.0}, {"confidence": 0.0}, {"seed": -1}],
)
def test_bad_settings_are_refused(values):
    with pytest.raises(ConfigError):
        Bootstrap(**values)
