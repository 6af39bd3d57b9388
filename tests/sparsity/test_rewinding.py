"""Iterative pruning that goes back to its first weights after each choice of a mask."""

import copy

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.supernet.config import SupernetConfig

IMP = {"kind": "cubic", "begin": 2, "end": 8, "update_every": 3, "initial": 0.2, "rewind": True}


class Training:
    def __init__(self, schedule=IMP):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(MaskedLinear(6, 8), torch.nn.Tanh(), MaskedLinear(8, 6))
        spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
        layers = [("0", self.net[0]), ("2", self.net[2])]
        for _, layer in layers:
            layer.add_mask("device", spec.pattern)
            layer.active_mask = "device"
        spec = parse_schedule(schedule), spec
        self.pruner = Pruner({"device": (spec[1], layers)}, spec[0], network=self.net)
        self.model = torch.nn.ModuleDict({"net": self.net, "pruner": self.pruner})
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.02)
        self.pruner.attach(self.optimizer)

    def step(self):
        step = int(self.pruner.step)
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        self.optimizer.zero_grad()
        (self.net(x) - x.cumsum(1)).square().mean().backward()
        self.optimizer.step()

    def weights(self):
        return [parameter.detach().clone() for parameter in self.net.parameters()]


def equal(some, others):
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def test_masks_are_chosen_by_trained_weights_which_then_go_back():
    run = Training()
    run.step()
    run.step()
    start = run.weights()
    sparsities = []
    for step in range(3, 12):
        run.step()
        went_back = equal(run.weights(), start)
        assert went_back is (step in (5, 8))
        if went_back:
            sparsities.append(run.pruner.sparsity_report()["device"]["prunable"])
            state = [value for one in run.optimizer.state.values() for value in one.values()]
            assert not any(value.any() for value in state)
    assert sparsities[0] < sparsities[1] == 0.5 and run.pruner.frozen
    best = Training({**IMP, "rewind": False})
    for _ in range(5):
        best.step()
    for layer in (0, 2):  # the same mask as without rewinding, until then
        masks = [one.net[layer].mask("device") for one in (best, other_until(5))]
        assert torch.equal(*masks)


def other_until(steps):
    run = Training()
    for _ in range(steps):
        run.step()
    return run


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_resumed_equals_uninterrupted(stop):
    whole, first, second = other_until(11), other_until(stop), Training()
    states = copy.deepcopy((first.model.state_dict(), first.optimizer.state_dict()))
    second.model.load_state_dict(states[0])
    second.optimizer.load_state_dict(states[1])
    for _ in range(11 - stop):
        second.step()
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key


def test_an_average_is_not_rewound():
    run = other_until(4)
    weights, masks = run.weights(), run.net[0].mask("device").clone()
    run.pruner.recompute()
    assert equal(run.weights(), weights) and torch.equal(run.net[0].mask("device"), masks)


def test_refuses_and_is_written_only_where_it_is_on():
    assert "rewind" not in parse_schedule({"kind": "cubic"}).to_dict()
    assert parse_schedule(parse_schedule(IMP).to_dict()) == parse_schedule(IMP)
    for change, message in (
        ({"rewind": 1}, "rewind: true or false, got 1"),
        ({"freeze": False}, "rewind: true needs freeze: true and adjust: masked"),
        ({"adjust": "dense"}, "rewind: true needs freeze: true and adjust: masked"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_schedule({**IMP, **change})
    with pytest.raises(ConfigError, match="unknown key 'rewind'"):
        parse_schedule({"kind": "one_shot", "rewind": True})
    with pytest.raises(ConfigError, match="needs the network"):
        Pruner({}, parse_schedule(IMP))
    rows = {"server": None, "device": {"mask": {"pattern": "elementwise", "sparsity": 0.5}}}
    with pytest.raises(ConfigError, match="rewind: true changes weights that a mask prunes"):
        SupernetConfig.parse({"subnets": rows, "schedule": IMP})
