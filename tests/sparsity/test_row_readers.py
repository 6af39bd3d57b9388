"""Units that rows read, since what the rows make is multiplied by what other rows make."""

import pytest
import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.sparsity.unit_selection import find_units, select_units
from espnet2_supernet.sparsity.units import UnitPart, Units

PAIRS = Units(
    "pairs",
    4,
    (UnitPart("query", "output", copies=2, reads=True), UnitPart("key", "output", copies=2)),
)
GROW = {"kind": "prune_and_grow", "begin": 2, "end": 9, "update_every": 2, "growth": "zero"}
L0 = {"kind": "l0", "begin": 4, "end": 12, "learning_rate": 0.1}


class Product(nn.Module):
    """A product of queries and keys, of which number i and number i + 4 are a unit."""

    def __init__(self):
        super().__init__()
        self.query, self.key = MaskedLinear(6, 8), MaskedLinear(6, 8)

    def units(self):
        return (PAIRS,)

    def forward(self, x):
        return self.query(x) @ self.key(x).T


class Training:
    def __init__(self, schedule):
        torch.manual_seed(0)
        self.net = Product()
        pattern = {"structured": {"kinds": ["pairs"]}}
        spec = MaskSpec.parse({"pattern": pattern, "sparsity": 0.5})
        self.groups = select_units(find_units(self.net), {"pairs": 1})
        for group in self.groups:
            group.add_mask("device")
        self.pruner = Pruner({"device": (spec, self.groups)}, parse_schedule(schedule))
        self.net.query.active_mask = self.net.key.active_mask = "device"
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.02)
        self.pruner.attach(self.optimizer)

    def loss(self, step):
        x = torch.randn(5, 6, generator=torch.Generator().manual_seed(step))
        return (self.net(x) - x @ x.T).square().mean()

    def step(self):
        self.optimizer.zero_grad()
        self.loss(int(self.pruner.step)).backward()
        self.optimizer.step()


def cut_out(run):
    keep = run.groups[0].kept("device")
    net, small = run.net, Product()
    small.query.load_state_dict({k: v for k, v in net.query.state_dict().items() if "_" not in k})
    small.key.load_state_dict({k: v for k, v in net.key.state_dict().items() if "_" not in k})
    find_units(small)[""].cut(keep)
    return small


def test_a_pruned_row_has_no_bias_and_can_be_cut_out():
    run = Training({"kind": "one_shot", "begin": 3})
    for _ in range(5):
        run.step()
    x = torch.randn(7, 6)
    assert int(run.groups[0].kept("device").sum()) == 2
    small = cut_out(run)
    assert small.query.weight.shape == small.key.weight.shape == (4, 6)
    torch.testing.assert_close(small(x), run.net(x), rtol=0, atol=1e-5)
    run.net.key.weight.data[~run.net.key.mask("device")] = 9.0  # nobody reads them
    torch.testing.assert_close(small(x), run.net(x), rtol=0, atol=1e-5)
    run.pruner.check_masks()


def test_growing_from_zero_changes_nothing_and_follows_the_gradient():
    run = Training({**GROW, "swap": 1.0})
    for _ in range(3):
        run.step()
    group = run.groups[0]
    sums = run.pruner.growth.effective.of("device")
    before = group.kept("device")
    run.optimizer.zero_grad()
    run.loss(3).backward()
    run.pruner.growth.effective.add()
    gradient = sums.get("query").sum(1).view(2, 4).sum(0)
    assert (gradient[~before] > 0).all()
    x = torch.randn(7, 6)
    dropped = run.net.query.weight.clone(), run.net.query.bias.clone()
    run.pruner.step.fill_(4)
    run.pruner.update_masks()
    grown = group.kept("device") & ~before
    assert grown.any()
    rows = grown.repeat(2)
    assert (run.net.query.weight[rows] == 0).all() and (run.net.query.bias[rows] == 0).all()
    kept = (group.kept("device") & before).repeat(2)
    assert torch.equal(run.net.query.weight[kept], dropped[0][kept])
    with torch.no_grad():
        alone = (x @ dropped[0][kept].T + dropped[1][kept]) @ (
            x @ run.net.key.weight[kept].T + run.net.key.bias[kept]
        ).T
    torch.testing.assert_close(run.net(x), alone, rtol=0, atol=1e-5)


def test_gates_multiply_rows_and_their_bias_and_fold_into_both():
    run = Training(L0)
    run.step()
    gates = run.pruner.gates
    run.optimizer.zero_grad()
    run.loss(1).backward()
    found = run.groups[0].gate_gradient("device")
    layer = run.net.query
    values = layer.gates["device"].detach().clone()
    for unit in range(4):
        losses = []
        for shift in (1e-2, -1e-2):
            with torch.no_grad():
                layer.gates["device"].copy_(values)
                layer.gates["device"][[unit, unit + 4]] += shift
                losses.append(run.loss(1))
        assert float(found[unit]) == pytest.approx(float(losses[0] - losses[1]) / 2e-2, abs=1e-2)
    gates.eval()
    x = torch.randn(4, 6)
    before = run.net(x)
    gates.fold()
    torch.testing.assert_close(run.net(x), before, rtol=0, atol=1e-5)
    while not run.pruner.frozen:
        run.step()
    assert int(run.groups[0].kept("device").sum()) == 2
    torch.testing.assert_close(cut_out(run)(x), run.net(x), rtol=0, atol=1e-5)
