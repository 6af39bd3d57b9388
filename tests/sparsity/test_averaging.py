import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.sparsity.averaging import average_into, average_state_dicts
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec

PATTERNS = ["elementwise", {"block": [3, 2]}, {"n_m": [2, 4]}, {"structured": "output"}]


class Net(nn.Module):
    def __init__(self, pattern="elementwise", end=20):
        super().__init__()
        sparsity = None if isinstance(pattern, dict) and "n_m" in pattern else 0.6
        spec = MaskSpec.parse({"pattern": pattern, "sparsity": sparsity})
        self.fc = MaskedLinear(10, 8)
        self.fc.add_mask("device", spec.pattern)
        schedule = parse_schedule({"kind": "constant", "begin": 2, "end": end, "update_every": 2})
        self.pruner = Pruner({"device": (spec, [("fc", self.fc)])}, schedule)


def checkpoints(net, steps, seed=0):
    """State after every step of a random walk."""
    torch.manual_seed(seed)
    for _ in range(steps):
        net.fc.weight.data.add_(torch.randn_like(net.fc.weight))
        net.pruner.step_once()
        yield copy.deepcopy(net.state_dict())


def test_weights_are_averaged_in_double_precision():
    states = [{"w": torch.tensor([value])} for value in (1e8, 1.0, -1e8)]
    assert average_state_dicts(states)["w"].tolist() == [pytest.approx(1 / 3)]
    half = average_state_dicts([{"w": torch.ones(2, dtype=torch.bfloat16)}] * 3)["w"]
    assert half.dtype == torch.bfloat16 and half.tolist() == [1.0, 1.0]


def test_counters_are_the_last_and_not_the_sum():
    states = list(checkpoints(Net(end=2), 9))[4:]
    average = average_state_dicts(iter(states))
    assert int(average["pruner.step"]) == 9 and average["pruner.step"].dtype == torch.int64


def test_frozen_masks_survive():
    net = Net(end=2)
    states = list(checkpoints(net, 6))[3:]
    other = Net(end=2)
    other.load_state_dict(average_state_dicts(states))
    assert torch.equal(other.fc.mask("device"), net.fc.mask("device"))
    mean = torch.stack([state["fc.weight"].double() for state in states]).mean(0)
    assert torch.equal(other.fc.weight, mean.float())
    assert torch.equal(average_into(net, states)["fc.mask_device"], states[0]["fc.mask_device"])


def test_moving_masks_are_refused_without_recomputing():
    with pytest.raises(CheckpointError, match="fc.mask_device.*the mask differs"):
        average_state_dicts(checkpoints(Net(), 5))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99), steps=st.integers(2, 7))
def test_recomputed_masks_fit_pattern_sparsity_and_weights(pattern, seed, steps):
    states = list(checkpoints(Net(pattern), steps, seed))
    net = Net(pattern)
    state = average_into(net, states)
    net.pruner.check_masks()
    spec = net.pruner.specs["device"]
    spec.pattern.check(state["fc.mask_device"], final=True)
    pruned = int((~state["fc.mask_device"]).sum())
    largest = int(spec.pattern.group_sizes((8, 10)).max())
    # N:M prunes less where a run of 4 is cut short: here the last two of ten inputs stay.
    wanted = 8 * 4 if pattern == {"n_m": [2, 4]} else 80 * spec.sparsity
    assert abs(pruned - wanted) <= largest / 2
    net.pruner.update_masks()  # nothing to change: they follow from the averaged weights
    assert torch.equal(net.fc.mask("device"), state["fc.mask_device"])
    reloaded = Net(pattern)
    reloaded.load_state_dict(state)
    assert all(torch.equal(v, state[k]) for k, v in reloaded.state_dict().items())


def test_checkpoints_have_to_fit_each_other():
    one = {"w": torch.ones(2)}
    with pytest.raises(CheckpointError, match="no checkpoint"):
        average_state_dicts([])
    with pytest.raises(CheckpointError, match="checkpoint 2 .* differ in 'v'"):
        average_state_dicts([one, {**one, "v": torch.ones(1)}])
    with pytest.raises(CheckpointError, match=r"checkpoint 3, 'w'.*\(3,\)"):
        average_state_dicts([one, one, {"w": torch.ones(3)}])
    with pytest.raises(CheckpointError, match="a mask is bool|'m'"):
        average_state_dicts([{"m": torch.ones(2).bool()}, {"m": torch.ones(2)}])
