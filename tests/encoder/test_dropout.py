"""Dropout by bytes."""

import pytest
import torch

from espnet2_supernet.encoder.dropout import Dropout
from espnet2_supernet.errors import ConfigError


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_rate_and_scale(rate):
    torch.manual_seed(0)
    out = Dropout(rate)(torch.ones(1000, 301))
    zeros = float((out == 0).float().mean())
    assert abs(zeros - rate) < 0.5 / 256 + 0.003
    assert len(out.unique()) == 2
    assert abs(float(out.mean()) - 1) < 0.01


def test_gradient_passes_where_the_number_stayed():
    torch.manual_seed(0)
    x = torch.randn(5, 7, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach() / x.detach())
    assert 0 < int((x.grad == 0).sum()) < 35


def test_draws_follow_the_seed():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.5)(torch.ones(100)))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_no_dropout_outside_training_or_at_rate_zero():
    x = torch.randn(3)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


def test_neighbours_are_independent():
    torch.manual_seed(0)
    zero = (Dropout(0.5)(torch.ones(200_000)) == 0).float() - 0.5
    for lag in (1, 2, 4, 8):
        assert abs(float((zero[lag:] * zero[:-lag]).mean()) * 4) < 0.01


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ConfigError, match="dropout"):
        Dropout(rate)


def test_bfloat16_and_views():
    out = Dropout(0.5)(torch.ones(4, 6, dtype=torch.bfloat16).t())
    assert out.dtype == torch.bfloat16 and out.shape == (6, 4)
