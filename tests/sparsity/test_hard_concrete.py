import copy

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec

L0 = {"kind": "l0", "begin": 40, "end": 300, "learning_rate": 0.1}


@pytest.fixture
def gated(training):
    return lambda schedule=L0: training(schedule)


def expected_sparsity(gates):
    is_open = torch.sigmoid(
        torch.cat(gates.scores("device")) - 2 / 3 * torch.tensor(0.1 / 1.1).log()
    )
    sizes = torch.cat([group.group_sizes() for _, group in gates._groups])
    return 1 - float((is_open * sizes).sum() / sizes.sum())


def test_the_lagrangian_holds_the_target_and_gates_become_a_mask(gated):
    run = gated()
    assert expected_sparsity(run.pruner.gates) < 0.01
    while int(run.pruner.step) < 299:
        run.step()
    assert expected_sparsity(run.pruner.gates) == pytest.approx(0.5, abs=0.15)
    assert all(keep.all() for keep in run.kept())
    most_open = run.pruner.gates.scores("device")
    run.step()
    assert run.pruner.frozen and not run.net[0].down.gates
    assert run.pruner.sparsity_report()["device"]["prunable"] == pytest.approx(0.5, abs=0.01)
    for keep, scores in zip(run.kept(), most_open, strict=True):
        if not keep.all():
            assert scores[keep].min() >= scores[~keep].max() - 0.1
    masks = run.masks()
    run.step()
    assert all(torch.equal(mask, run.masks()[key]) for key, mask in masks.items())


def test_the_gradient_of_a_gate_is_that_of_the_loss(gated):
    run = gated()
    run.step()
    gates = run.pruner.gates
    run.optimizer.zero_grad()
    run.loss(1).backward()
    found = gates._groups[0][1].gate_gradient("device")
    layer, values = run.net[0].down, run.net[0].down.gates["device"].detach().clone()
    for unit in range(3):
        losses = []
        for shift in (1e-2, -1e-2):
            with torch.no_grad():
                layer.gates["device"].copy_(values)
                layer.gates["device"][unit] += shift
                losses.append(run.loss(1))
        assert float(found[unit]) == pytest.approx(float(losses[0] - losses[1]) / 2e-2, abs=1e-3)


def test_evaluation_has_no_noise_and_folding_changes_nothing_of_it(gated):
    run = gated({"kind": "l0", "begin": 10, "end": 40})
    while int(run.pruner.step) < 39:
        run.step()
    x = torch.randn(4, 6)
    drawn = run.net(x)
    run.model.eval()
    assert not torch.equal(run.net(x), drawn)
    before = run.net(x)
    run.pruner.gates.fold()
    torch.testing.assert_close(run.net(x), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stop", [3, 20])
def test_resumed_equals_uninterrupted(gated, stop):
    schedule = {"kind": "l0", "begin": 5, "end": 20}
    whole, first, second = (gated(schedule) for _ in range(3))
    for _ in range(25):
        whole.step()
    for _ in range(stop):
        first.step()
    states = copy.deepcopy((first.model.state_dict(), first.optimizer.state_dict()))
    second.model.load_state_dict(states[0])
    second.optimizer.load_state_dict(states[1])
    for _ in range(25 - stop):
        second.step()
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key


def test_refuses_patterns_of_single_matrices():
    layer = MaskedLinear(4, 4)
    spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
    layer.add_mask("device")
    with pytest.raises(ConfigError, match="schedule l0 closes units"):
        Pruner({"device": (spec, [("fc", layer)])}, parse_schedule(L0))
