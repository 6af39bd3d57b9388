"""The behaviour that gives the method its name, on a small regression."""

import copy

import pytest
import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec

SCHEDULE = {"kind": "cubic", "begin": 3, "end": 15, "update_every": 4}


class Net(nn.Module):
    def __init__(self, score="magnitude"):
        super().__init__()
        torch.manual_seed(1)
        self.fc = MaskedLinear(8, 4)
        spec = MaskSpec.parse({"pattern": {"block": [2, 1]}, "sparsity": 0.5, "score": score})
        self.fc.add_mask("device", spec.pattern)
        self.pruner = Pruner({"device": (spec, [("fc", self.fc)])}, parse_schedule(SCHEDULE))

    def loss(self, x, y, masks=(None, "device")):
        total = torch.zeros(())
        for mask in masks:
            self.fc.active_mask = mask
            total = total + (self.fc(x) - y).pow(2).mean()
        self.fc.active_mask = None
        return total


def train(net, optimizer, first, last):
    net.pruner.attach(optimizer)
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(16, 8, generator=generator)
        optimizer.zero_grad()
        net.loss(x, x @ torch.ones(8, 4)).backward()
        optimizer.step()


def test_a_pruned_weight_comes_back_when_the_dense_model_needs_it():
    layer = MaskedLinear(4, 1, bias=False)
    layer.add_mask("device")
    layer.weight.data = torch.tensor([[0.01, 1.0, 1.1, 0.02]])
    spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
    schedule = parse_schedule({"kind": "constant", "begin": 2, "end": 60, "update_every": 20})
    pruner = Pruner({"device": (spec, [("fc", layer)])}, schedule)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    pruner.attach(optimizer)
    history = []
    for _ in range(60):
        optimizer.zero_grad()
        x = torch.eye(4)
        dense = layer(x)  # wants the first weight large, the second small
        layer.active_mask = "device"
        sparse = layer(x)
        layer.active_mask = None
        target = torch.tensor([[2.0], [0.1], [1.0], [0.0]])
        ((dense - target).pow(2).sum() + (sparse - target).pow(2).sum()).backward()
        optimizer.step()
        history.append(layer.mask("device").int().tolist()[0])
    assert history[1] == [0, 1, 1, 0]
    assert history[-1] == [1, 0, 1, 0]


def test_without_the_dense_pass_pruned_weights_are_dead():
    net = Net()
    for _ in range(15):
        net.pruner.step_once()
    pruned = ~net.fc.mask("device")
    before = net.fc.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(16, 8)
    net.loss(x, x @ torch.ones(8, 4), masks=("device",)).backward()
    optimizer.step()
    assert torch.equal(net.fc.weight[pruned], before[pruned])
    assert not torch.equal(net.fc.weight[~pruned], before[~pruned])


@pytest.mark.parametrize("score", ["magnitude", "gradient", "taylor"])
@pytest.mark.parametrize("stop", [1, 9, 13, 17])
def test_resumed_training_equals_uninterrupted_training(score, stop):
    whole = Net(score)
    train(whole, torch.optim.Adam(whole.parameters(), lr=0.05), 0, 20)

    net = Net(score)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    train(net, optimizer, 0, stop)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))

    net = Net(score)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    net.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    train(net, optimizer, stop, 20)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key
    assert net.pruner.finished and not net.fc.mask("device").all()
