"""The loss of SALAD's detector against its definition."""

import math
from types import SimpleNamespace

import pytest
import torch

from espnet2_supernet.damon.salad_model import SaladModel

torch.set_num_threads(1)

LENGTHS = [9, 4]
LABELS = torch.tensor([[0, 0, 2, 2, 2, 0, 0, 1, 1], [3, 3, 3, 0, -1, -1, -1, -1, -1]])
SALIENT = [{0, 2, 5, 7}, {0, 3}]  # the first frame of each run


def make(views=1, weight=4.0):
    """A detector of frames that are given as the waveforms ``(B, T, D)``."""

    def front(speech, lengths):
        return torch.cat([speech * (1 + v) for v in range(views)]), lengths.repeat(views)

    front.encoder = SimpleNamespace(output_size=lambda: 6)
    torch.manual_seed(0)
    return SaladModel(front, channels=4, kernel_size=3, positive_weight=weight)


def batch(padding=0.0):
    torch.manual_seed(1)
    speech, lengths = torch.randn(2, 9, 6), torch.tensor(LENGTHS)
    speech[1, 4:] = padding
    return speech, lengths, LABELS, lengths


def by_definition(model, speech, views):
    """Frame by frame: what a lost salient frame and a kept other one cost."""
    total = frames = 0
    for factor in range(1, 1 + views):
        scores = model.detector(speech * factor)[0].detach()
        for row, length in enumerate(LENGTHS):
            for t in range(length):
                probability = 1 / (1 + math.exp(-float(scores[row, t])))
                if t in SALIENT[row]:
                    total -= model.positive_weight * math.log(probability)
                else:
                    total -= math.log(1 - probability)
                frames += 1
    return total / frames, frames


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_the_loss_is_the_weighted_cross_entropy_of_the_frames_that_exist(views, weight):
    model, data = make(views, weight), batch()
    with torch.no_grad():
        loss, stats, frames = model(*data)
    expected, count = by_definition(model, data[0], views)
    assert float(loss) == pytest.approx(expected, rel=1e-5) and int(frames) == count
    assert float(stats["loss"]) == float(loss)


def test_padding_changes_nothing():
    model = make()
    model(*batch())[0].backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    loss, stats, _ = model(*batch(padding=1e3))
    loss.backward()
    assert stats.keys() == model(*batch())[1].keys()
    for name, value in model(*batch())[1].items():
        torch.testing.assert_close(stats[name], value)
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad)
