"""Thresholds that kept more than was asked for, where scores are equal, or dropped everything.

A sigmoid in float32 is 1 from log-odds of 17 on, and no score reaches the log-odds of 1.
"""

import math

import pytest
import torch

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.damon.rules import Salad
from espnet2_supernet.damon.threshold import ScoredFrames, choose_threshold, measures, report
from espnet2_supernet.errors import DataError
from espnet2_supernet.supernet.tokens import TokenSpec


def framed(*scores):
    starts = torch.ones(len(scores), dtype=torch.bool)
    return ScoredFrames(torch.tensor(scores), starts, torch.arange(len(scores)), ~starts)


def test_of_equal_scores_none_is_kept_if_not_all_can_be():
    frames = framed(*[3.0] * 10, *[1.0] * 80, *[0.0] * 10)
    assert measures(frames, choose_threshold(frames, keep_ratio=0.6))["keep_ratio"] == 0.1
    assert measures(frames, choose_threshold(frames, keep_ratio=0.9))["keep_ratio"] == 0.9
    assert measures(frames, choose_threshold(frames, keep_ratio=0.95))["keep_ratio"] == 0.9


@pytest.mark.parametrize(
    "scores", [[1.0] * 10, [torch.inf] + [1.0] * 9, [torch.inf] * 5 + [1.0] * 5]
)
@pytest.mark.parametrize("keep_ratio", [0.05, 0.3])
def test_the_first_frames_alone_are_refused(scores, keep_ratio):
    with pytest.raises(DataError, match="nothing but the first frame of each utterance is left"):
        choose_threshold(framed(*scores), keep_ratio=keep_ratio)


def test_the_first_frames_alone_may_be_the_recall_that_is_wanted():
    frames = framed(torch.inf, 2.0, 1.0, 0.0)
    told = report(frames, choose_threshold(frames, recall=0.2))
    assert 0 < told["threshold"] < 1 and told["recall"] == told["keep_ratio"] == 0.25
    frames = framed(torch.inf, torch.inf)
    assert report(frames, choose_threshold(frames, recall=0.2))["keep_ratio"] == 1.0


@pytest.mark.parametrize("high", [4.0, 9.7, 12.0, 15.9, 18.0, 40.0])
@pytest.mark.parametrize("gap", [0.002, 0.3, 4.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_stored_decides_as_what_was_chosen(high, gap, sign):
    top, rest = sorted([sign * high, sign * (high - gap)], reverse=True)
    frames = framed(top, rest, -100.0)
    threshold = choose_threshold(frames, keep_ratio=0.4)
    kept = stored_decisions(frames, threshold, at_most=False)
    assert kept[0] and not kept[2]
    assert not kept[1] or gap < 2**-23 * math.exp(rest), "float32 is coarse next to 1 only"


def stored_decisions(frames, threshold, at_most):
    told = report(frames, threshold, at_most)
    assert 0 < told["threshold"] < 1
    detector = SaladDetector(4)
    detector.threshold.fill_(told["threshold"])
    kept = frames.scores >= Salad(TokenSpec("salad"), detector).threshold
    assert told["keep_ratio"] == float(kept.double().mean())
    return kept.tolist()


def test_a_bound_is_kept_where_probabilities_are_coarse():
    frames = framed(20.0, 16.01, 16.0, 0.0)
    threshold = choose_threshold(frames, keep_ratio=0.5)
    assert stored_decisions(frames, threshold, at_most=True) == [True, False, False, False]
    threshold = choose_threshold(frames, recall=0.5)
    assert stored_decisions(frames, threshold, at_most=False) == [True, True, True, False]
    frames = framed(torch.inf, 30.0, 29.0, 0.0)
    with pytest.raises(DataError, match="log-odds of 29.5.*the detector is too sure"):
        report(frames, choose_threshold(frames, keep_ratio=0.5), at_most=True)


def test_a_threshold_in_the_table_is_not_rounded_to_one():
    rule = Salad(TokenSpec("salad", threshold=1 - 1e-9), SaladDetector(4))
    assert rule.threshold == pytest.approx(20.723, abs=1e-3)
