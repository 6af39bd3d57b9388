"""The cumulative norm against its definition."""

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.time_norm import TimeNorm

torch.set_num_threads(1)


def by_definition(norm, x, mean, variance):
    """Frame by frame: all so far, to the end of the frames it is computed with."""
    out = torch.empty_like(x)
    for t in range(x.size(2)):
        block = max(0, (t - norm.overlap) // norm.hop)
        seen = x[..., : norm.overlap + norm.hop * (block + 1)].double()
        count = seen.size(2) + norm.hop
        total = seen.sum(2) + norm.hop * mean
        square = seen.square().sum(2) + norm.hop * (variance + mean.square())
        spread = square / count - (total / count).square()
        normal = (x[..., t] - total / count) / (spread + norm.eps).sqrt()
        out[..., t] = normal * norm.weight + norm.bias
    return out


def test_cumulative_statistics():
    torch.manual_seed(0)
    norm = TimeNorm(3, 10, 5, 50, 30)
    assert (norm.hop, norm.overlap) == (6, 3)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(3))
        norm.bias.copy_(torch.randn(3))
    x = torch.randn(2, 3, 3 + 6 * 7) * torch.linspace(0.1, 2.0, 45) + 0.5
    mean, variance = torch.tensor([0.1, 0.0, -0.2]), torch.tensor([1.0, 0.5, 2.0])
    whole, heard = norm.cumulative(x, norm.start(mean, variance))
    torch.testing.assert_close(whole, by_definition(norm, x, mean, variance).float())
    assert heard.frames == 6 + 45
    first, state = norm.cumulative(x[..., :15], norm.start(mean, variance))
    second, _ = norm.cumulative(x[..., 12:], state)
    torch.testing.assert_close(torch.cat([first, second[..., 3:]], 2), whole)
    torch.testing.assert_close(second[..., :3], first[..., 12:])


def test_an_hour_loses_no_precision():
    """Sums of many large numbers of one sign."""
    norm = TimeNorm(1, 1, 1, 400, 320, affine=False)
    heard = norm.start(torch.zeros(1), torch.ones(1))
    for _ in range(3):
        x = 1.0 + 0.01 * torch.randn(1, 1, 80 + 320 * 2000)
        out, heard = norm.cumulative(x, heard)
    heard = type(heard)(heard.frames * 90, heard.sums * 90, heard.last)
    out, _ = norm.cumulative(x, heard)
    scale = float(out.std()) / float(x.std())
    spread = heard.sums[1] / heard.frames - (heard.sums[0] / heard.frames).square()
    assert scale == pytest.approx(float((spread + norm.eps).rsqrt()), rel=1e-3)


def test_windows_that_do_not_fit():
    with pytest.raises(ConfigError, match="windows of one to two hops, these are 100 and 30"):
        TimeNorm(3, 10, 5, 100, 30)
