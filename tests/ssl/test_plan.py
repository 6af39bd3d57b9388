"""Masked frames, their negatives and their noise."""

import numpy as np
import pytest
import torch

from espnet2_supernet.ssl.negatives import draw_negatives
from espnet2_supernet.ssl.plan import Plan
from espnet2_supernet.ssl.seeds import generator, utterance_seeds
from espnet2_supernet.ssl.spans import SpanMasking


def make_plan(lengths, k=5, ids=None, masking=None):
    ids = ids or [f"utt{i}" for i in range(len(lengths))]
    return Plan.draw(masking or SpanMasking(), k, lengths, utterance_seeds(0, 0, ids))


def test_negatives_are_other_masked_frames_of_the_utterance():
    counts = [7, 0, 2, 30]
    negatives = draw_negatives(counts, 50, [generator(i) for i in range(4)])
    assert negatives.shape == (39, 50)
    for rows, count in zip(np.split(negatives, np.cumsum(counts)[:-1]), counts, strict=True):
        for own, row in enumerate(rows):
            assert own not in row and row.min() >= 0 and row.max() < count
    # with replacement: more than there are can be asked for, and each is drawn equally often
    share = np.bincount(negatives[:7].ravel(), minlength=7) / 350
    assert share == pytest.approx(1 / 7, abs=0.05)


def test_a_single_masked_frame_is_given_itself():
    assert (draw_negatives([1], 4, [generator(0)]) == 0).all()
    assert draw_negatives([], 4, []).shape == (0, 4)


def test_numbering_follows_the_mask():
    plan = make_plan([50, 5, 33])
    assert plan.mask.shape == (3, 50) and plan.counts[1] == 0
    assert torch.equal(plan.mask.nonzero()[:, 0], plan.rows)
    assert plan.columns.tolist() == [i for count in plan.counts for i in range(count)]
    assert plan.negatives.shape == (len(plan.rows), 5)
    values = torch.arange(len(plan.rows), dtype=torch.float)
    padded = plan.pad(values)
    assert padded.shape == (3, max(plan.counts)) and padded[1].sum() == 0
    assert torch.equal(padded[plan.rows, plan.columns], values)


def test_everything_drawn_belongs_to_its_utterance():
    together, alone = make_plan([60, 45], ids=["a", "b"]), make_plan([45], ids=["b"])
    first = together.counts[0]
    assert torch.equal(together.mask[1, :45], alone.mask[0])
    assert torch.equal(together.negatives[first:], alone.negatives)
    noise = together.exponential(2, 3)
    assert noise.shape == (len(together.rows), 2, 3) and (noise > 0).all()
    assert torch.equal(noise[first:], alone.exponential(2, 3))
    assert noise.mean() == pytest.approx(1, abs=0.2)


def test_a_batch_without_masked_frames():
    plan = make_plan([3, 10])
    assert plan.counts == [0, 0] and not plan.mask.any()
    assert plan.pad(torch.zeros(0, 4)).shape == (2, 0, 4)
    assert plan.exponential(2).shape == (0, 2)
