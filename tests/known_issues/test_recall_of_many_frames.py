"""A rank rounded in float32 lost its fraction: one frame too few was kept for the recall."""

import torch

from espnet2_supernet.damon.threshold import ScoredFrames, choose_threshold, measures


def test_recall_is_reached_among_many_frames():
    size = 38999  # 0.999 of it is 38960.001, which float32 rounds to 38960
    starts = torch.ones(size, dtype=torch.bool)
    scores = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    frames = ScoredFrames(scores, starts, torch.arange(size), ~starts)
    threshold = choose_threshold(frames, recall=0.999)
    assert measures(frames, threshold)["recall"] >= 0.999
