"""Thresholds by recall and by keep ratio."""

import pytest
import torch

from espnet2_supernet.damon.threshold import choose_threshold, measures, report
from espnet2_supernet.errors import ConfigError, DataError


def data(size=500):
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(size, generator=generator) < 0.4
    return torch.randn(size, generator=generator) + 1.5 * targets, targets


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.98, 1.0])
def test_recall_is_reached_and_no_more_is_kept_than_needed(recall):
    scores, targets = data()
    threshold = choose_threshold(scores, targets, recall=recall)
    assert measures(scores, targets, threshold)["recall"] >= recall
    salient = scores[targets & (scores > threshold)].min()
    assert measures(scores, targets, float(salient) + 1e-6)["recall"] < recall
    assert (scores - threshold).abs().min() > 1e-5  # rounding decides nothing


@pytest.mark.parametrize("keep_ratio", [0.1, 0.5, 1.0])
def test_the_keep_ratio_is_a_bound(keep_ratio):
    scores, targets = data()
    threshold = choose_threshold(scores, targets, keep_ratio=keep_ratio)
    assert measures(scores, targets, threshold)["keep_ratio"] == pytest.approx(keep_ratio)


def test_frames_that_are_always_kept_do_not_disturb():
    scores, targets = data()
    scores[::50] = torch.inf
    told = report(scores, targets, choose_threshold(scores, targets, recall=0.9))
    assert told["recall"] >= 0.9 and 0 < told["threshold"] < 1
    assert told["teacher_keep_ratio"] == pytest.approx(float(targets.float().mean()))
    recalls = [row["recall"] for row in told["curve"]]
    assert recalls == sorted(recalls, reverse=True) and len(recalls) == 19


def test_what_cannot_be_chosen_is_refused():
    scores, targets = data(10)
    for given in ({}, {"recall": 0.9, "keep_ratio": 0.5}, {"recall": 0.0}, {"keep_ratio": 1.2}):
        with pytest.raises(ConfigError, match="give a recall or a keep ratio"):
            choose_threshold(scores, targets, **given)
    with pytest.raises(DataError, match="no salient frame"):
        choose_threshold(scores, torch.zeros(10, dtype=torch.bool), recall=0.9)
