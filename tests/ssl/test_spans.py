"""Spans against their definition, written out for one utterance at a time."""

import numpy as np
import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.ssl.seeds import generator, utterance_seeds
from espnet2_supernet.ssl.spans import SpanMasking


def generators(n, step=0):
    return [generator(seed) for seed in utterance_seeds(0, step, [f"utt{i}" for i in range(n)])]


def by_definition(masking, length, random):
    """The mask of one utterance, span after span."""
    numbers = random.random(length + 1)
    spans = int(masking.mask_prob * length / masking.mask_length + numbers[0])
    spans = max(spans, masking.mask_min_masks)
    if length < 2 * masking.mask_length:
        spans = min(spans, 1)
    if length <= masking.mask_length or masking.mask_prob == 0:
        spans = 0
    starts = range(length - masking.mask_length + 1)
    chosen = sorted(starts, key=lambda start: numbers[1 + start])[:spans]
    mask = np.zeros(length, dtype=bool)
    for start in chosen:
        mask[start : start + masking.mask_length] = True
    return mask


@pytest.mark.parametrize("masking", [SpanMasking(), SpanMasking(0.5, 3, 0), SpanMasking(1.0, 1, 1)])
def test_masks_are_those_of_the_definition(masking):
    lengths = [1, 2, 3, 4, 9, 10, 11, 19, 20, 21, 50, 137, 400]
    masks = masking.draw(lengths, generators(len(lengths)))
    assert masks.shape == (len(lengths), 400) and masks.dtype == bool
    for mask, length, random in zip(masks, lengths, generators(len(lengths)), strict=True):
        assert np.array_equal(mask[:length], by_definition(masking, length, random))
        assert not mask[length:].any(), "padding"


def runs(mask):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_statistics_are_those_of_the_paper():
    length, n = 500, 400
    masks = SpanMasking(0.65, 10, 2).draw([length] * n, generators(n))
    assert all((runs(mask) >= 10).all() for mask in masks), "no span is cut off"
    # "approximately 49 % of all time steps are masked with a mean span length of 14.7"
    assert masks.mean() == pytest.approx(0.485, abs=0.01)
    lengths = np.concatenate([runs(mask) for mask in masks])
    assert lengths.mean() == pytest.approx(14.7, abs=0.5)
    # every frame that is not at an end is masked equally often
    middle = masks[:, 20:-20].mean(axis=0)
    assert np.abs(middle - middle.mean()).max() < 5 * np.sqrt(0.25 / n)


def test_the_number_of_spans_has_the_exact_mean():
    n, length = 3000, 33  # 0.5 * 33 / 1 = 16.5 single frames
    masks = SpanMasking(0.5, 1, 0).draw([length] * n, generators(n))
    counts = masks.sum(axis=1)
    assert set(counts) == {16, 17}
    assert counts.mean() == pytest.approx(16.5, abs=0.05)


def test_a_mask_does_not_depend_on_the_batch():
    masking, random = SpanMasking(), generators(3)
    together = masking.draw([40, 90, 60], random)
    alone = masking.draw([40], generators(1))
    assert np.array_equal(together[0, :40], alone[0])
    other = masking.draw([40], generators(1, step=1))
    assert not np.array_equal(alone, other)


@pytest.mark.parametrize(
    ("length", "masked"), [(0, {0}), (1, {0}), (10, {0}), (11, {10}), (19, {10}), (20, {11, 20})]
)
def test_short_utterances(length, masked):
    masking = SpanMasking(0.65, 10, 2)
    counts = {int(masking.draw([length], generators(1, step))[0].sum()) for step in range(200)}
    assert min(counts) >= min(masked) and max(counts) <= max(masked)
    assert len(counts) == 1 or length == 20


def test_nothing_is_masked_at_probability_zero():
    assert not SpanMasking(0.0).draw([100], generators(1)).any()
    assert SpanMasking().draw([], []).shape == (0, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mask_prob": 1.5}, "mask_prob: from 0 to 1"),
        ({"mask_length": 0}, "mask_length: at least 1"),
        ({"mask_min_masks": -1}, "mask_min_masks"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        SpanMasking(**values)
