"""Which layers a step leaves out, and what backward sees of them."""

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.layer_drop import LayerDrop, zero_gradients
from espnet2_supernet.supernet.supernet import Supernet


def left_out(layers: LayerDrop) -> list[int]:
    return [number for number in range(len(layers.droppable)) if layers.leaves_out(number)]


def test_the_rate_is_that_of_every_droppable_layer():
    layers, counts = LayerDrop(0.3, [False, True, True]), torch.zeros(3)
    for step in range(4000):
        layers.draw(f"seed-{step}")
        counts[left_out(layers)] += 1
    assert counts[0] == 0
    torch.testing.assert_close(counts[1:] / 4000, torch.full((2,), 0.3), atol=0.03, rtol=0)


def test_nothing_is_left_out_in_evaluation_and_before_a_draw():
    layers = LayerDrop(0.9, [True] * 20)
    assert not left_out(layers)
    layers.draw("0")
    assert left_out(layers) and not left_out(layers.eval())


def test_the_draw_belongs_to_seed_and_step():
    def drawn(seed, step):
        net = nn.Sequential(LayerDrop(0.5, [True] * 30))
        conf = {"subnets": {"server": {}}, "sampling": {"seed": seed}}
        Supernet(net, SupernetConfig.parse(conf)).draw_layers(step)
        return left_out(net[0])

    assert drawn(0, 3) == drawn(0, 3) != drawn(0, 4)
    assert drawn(0, 3) != drawn(1, 3)


def test_a_layer_left_out_has_gradients_of_zero():
    x, layer = torch.randn(2, 3, requires_grad=True), nn.Linear(3, 3)
    layer.bias.requires_grad_(False)
    out = zero_gradients(x, layer)
    out.sum().backward()
    assert torch.equal(out, x) and torch.equal(x.grad, torch.ones(2, 3))
    assert torch.equal(layer.weight.grad, torch.zeros(3, 3)) and layer.bias.grad is None
    assert zero_gradients(x, nn.Identity()) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_bad_rates_are_named(rate):
    with pytest.raises(ConfigError, match="layerdrop lies in"):
        LayerDrop(rate, [True])
