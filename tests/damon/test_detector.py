"""SALAD's detector: causal, exact in a stream, much smaller than a block."""

import pytest
import torch

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.errors import ConfigError

torch.set_num_threads(1)


def make(**sizes):
    torch.manual_seed(0)
    return SaladDetector(16, **({"channels": 8} | sizes))


@pytest.mark.parametrize("sizes", [{}, {"num_layers": 3, "kernel_size": 4}, {"kernel_size": 1}])
def test_pieces_of_any_size_give_the_scores_of_the_whole(sizes):
    detector, frames = make(**sizes), torch.randn(2, 30, 16)
    whole, _ = detector(frames)
    for pieces in ([1] * 30, [7, 0, 20, 3], [29, 1]):
        state, found = detector.init_state(2), []
        for part in frames.split(pieces, dim=1):
            scores, state = detector(part, state)
            found.append(scores)
        torch.testing.assert_close(torch.cat(found, dim=1), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("num_layers", "kernel_size"), [(1, 5), (2, 3), (2, 9)])
def test_a_score_depends_on_so_many_frames_and_on_none_to_come(num_layers, kernel_size):
    detector = make(num_layers=num_layers, kernel_size=kernel_size)
    frames = torch.randn(1, 40, 16, requires_grad=True)
    scores, _ = detector(frames)
    scores[0, 30].backward()
    touched = frames.grad[0].abs().sum(1).nonzero()[:, 0]
    seen = num_layers * (kernel_size - 1) + 1
    assert touched.tolist() == list(range(30 - seen + 1, 31))


def test_the_state_does_not_hold_the_frames_before():
    detector = make()
    _, state = detector(torch.randn(1, 500, 16))
    assert state.shape == detector.init_state(1).shape == (1, 2, 8, 8)
    assert state.untyped_storage().nbytes() == state.numel() * 4


@pytest.mark.parametrize("name", ["channels", "kernel_size", "num_layers"])
@pytest.mark.parametrize("value", [0, True, 2.5, "8"])
def test_sizes_are_whole_numbers(name, value):
    with pytest.raises(ConfigError, match=f"{name} is a whole number from 1"):
        SaladDetector(16, **{name: value})
