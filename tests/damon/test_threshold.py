"""Thresholds by recall, by runs found and by keep ratio."""

import pytest
import torch

from espnet2_supernet.damon.threshold import ScoredFrames, choose_threshold, measures, report
from espnet2_supernet.errors import ConfigError, DataError


def data(size=500):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (size,), generator=generator)
    starts = torch.ones(size, dtype=torch.bool)
    starts[1:] = labels[1:] != labels[:-1]
    scores = torch.randn(size, generator=generator) + 1.5 * starts
    return ScoredFrames(scores, starts, starts.cumsum(0) - 1, labels == 0)


def runs_by_definition(frames, threshold, tokens_only=False):
    """Run after run: whether any of its frames is kept."""
    found = []
    for run in range(int(frames.runs.max()) + 1):
        own = frames.runs == run
        if not (tokens_only and frames.blank[own].any()):
            found.append(bool((frames.scores[own] >= threshold).any()))
    return sum(found) / len(found)


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.98, 1.0])
def test_recall_is_reached_and_no_more_is_kept_than_needed(recall):
    frames = data()
    threshold = choose_threshold(frames, recall=recall)
    assert measures(frames, threshold)["recall"] >= recall
    salient = frames.scores[frames.targets & (frames.scores > threshold)].min()
    assert measures(frames, float(salient) + 1e-6)["recall"] < recall
    assert (frames.scores - threshold).abs().min() > 1e-5  # rounding decides nothing


@pytest.mark.parametrize("run_recall", [0.5, 0.9, 0.98, 1.0])
def test_runs_are_found_and_no_more_is_kept_than_needed(run_recall):
    frames = data()
    threshold = choose_threshold(frames, run_recall=run_recall)
    assert runs_by_definition(frames, threshold) >= run_recall
    lost = float(frames.scores[frames.scores > threshold].min()) + 1e-6
    assert runs_by_definition(frames, lost) < run_recall
    if run_recall < 1:  # another frame than the first may do
        assert threshold >= choose_threshold(frames, recall=run_recall)


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 2.0, 9.0])
def test_a_run_is_found_by_any_of_its_frames(threshold):
    frames = data()
    told = measures(frames, threshold)
    assert told["run_recall"] == pytest.approx(runs_by_definition(frames, threshold))
    tokens = runs_by_definition(frames, threshold, tokens_only=True)
    assert told["token_run_recall"] == pytest.approx(tokens)
    assert told["run_recall"] >= told["recall"]


def test_frames_kept_by_chance_find_long_runs():
    runs = torch.tensor([0, 1, 1, 1])
    scores = torch.tensor([1.0, 1.0, 0.0, 0.0])
    told = report(ScoredFrames(scores, runs == 0, runs, runs == 1), 0.5)  # half of the frames
    assert told["by_chance"]["run_recall"] == pytest.approx((0.5 + 1 - 0.5**3) / 2)
    assert told["by_chance"]["token_run_recall"] == pytest.approx(0.5)
    assert (told["runs"], told["token_runs"]) == (2, 1)


@pytest.mark.parametrize("keep_ratio", [0.1, 0.5, 1.0])
def test_the_keep_ratio_is_a_bound(keep_ratio):
    frames = data()
    threshold = choose_threshold(frames, keep_ratio=keep_ratio)
    assert measures(frames, threshold)["keep_ratio"] == pytest.approx(keep_ratio)


def test_frames_that_are_always_kept_do_not_disturb():
    frames = data()
    frames.scores[::50] = torch.inf
    told = report(frames, choose_threshold(frames, recall=0.9))
    assert told["recall"] >= 0.9 and 0 < told["threshold"] < 1
    assert told["teacher_keep_ratio"] == pytest.approx(float(frames.targets.float().mean()))
    recalls = [row["recall"] for row in told["curve"]]
    assert recalls == sorted(recalls, reverse=True) and len(recalls) == 19


def test_what_cannot_be_chosen_is_refused():
    frames = data(10)
    both = {"recall": 0.9, "keep_ratio": 0.5}
    for given in ({}, both, {"recall": 0.0}, {"keep_ratio": 1.2}, {"run_recall": 1.2}):
        with pytest.raises(ConfigError, match="give a recall, a run recall or a keep ratio"):
            choose_threshold(frames, **given)
    frames.targets[:] = False
    with pytest.raises(DataError, match="no salient frame"):
        choose_threshold(frames, recall=0.9)
