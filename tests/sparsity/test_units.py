import functools

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.sparsity.unit_selection import find_units, select_units


def build(hidden, schedule=None, kinds=None, ranking="layer", sparsity=0.5):
    torch.manual_seed(0)
    net = nn.Sequential(hidden(8), hidden(4, size=3, kind="heads"), hidden(6))
    kinds = kinds or {"units": 1, "heads": 1}
    groups = select_units(find_units(net), kinds)
    pattern = {"structured": {"kinds": list(kinds), "min_kept": kinds}}
    spec = MaskSpec.parse({"pattern": pattern, "sparsity": sparsity, "ranking": ranking})
    for group in groups:
        group.add_mask("device")
    schedule = parse_schedule(schedule or {"kind": "one_shot", "begin": 2})
    return net, groups, Pruner({"device": (spec, groups)}, schedule)


@pytest.fixture
def make(hidden):
    return functools.partial(build, hidden)


def test_a_unit_is_scored_by_all_its_weights_and_goes_with_all(make):
    net, groups, pruner = make()
    means = (net[0].up.weight.abs().sum(1) + net[0].down.weight.abs().sum(0)) / 12
    pruner.update_masks()  # step 0: nothing is pruned yet
    assert all(group.kept("device").all() for group in groups)
    for _ in range(2):
        pruner.step_once()
    assert torch.equal(groups[0].kept("device"), means > means.median())
    assert [int(group.kept("device").sum()) for group in groups] == [4, 2, 3]
    report = pruner.sparsity_report()["device"]
    assert report["prunable"] == 0.5 and set(report) == {"0", "1", "2", "prunable", "total"}
    pruner.check_masks()
    heads = groups[1].kept("device").repeat_interleave(3)
    assert torch.equal(net[1].up.mask("device"), heads[:, None].expand(12, 6))
    assert torch.equal(net[1].down.mask("device"), heads.expand(6, 12))


def test_pruned_units_are_cut_out_and_the_rest_computes_the_same(make, activate):
    net, groups, pruner = make()
    for _ in range(2):
        pruner.step_once()
    x = torch.randn(5, 6)
    activate(net, "device")
    expected = net(x)
    kept = [group.kept("device") for group in groups]
    besides = [group.pruned_besides("device") for group in groups]
    before = sum(p.numel() for p in net.parameters())
    zeros = sum(int((~m.mask("device")).sum()) for m in net.modules() if hasattr(m, "mask"))
    for layer in net.modules():
        if isinstance(layer, MaskedLinear):
            layer.remove_masks()
    for group, keep in zip(groups, kept, strict=True):
        group.cut(keep)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-6)
    assert before - sum(p.numel() for p in net.parameters()) == zeros + sum(besides)
    assert net[1].up.out_features == 6 and net[2].down.in_features == 3


def test_pruned_units_stay_as_they_are_in_masked_training(make, activate):
    net, groups, pruner = make()
    for _ in range(2):
        pruner.step_once()
    activate(net, "device")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = [p.detach().clone() for p in net.parameters()]
    for _ in range(5):
        optimizer.zero_grad()
        net(torch.randn(4, 6)).square().sum().backward()
        optimizer.step()
    assert any(not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    for group in groups:
        for layer in group.layers.values():
            mask = layer.mask("device")
            assert (layer.effective_weight()[~mask] == 0).all()
            assert (layer.weight.grad[~mask] == 0).all()


@pytest.mark.parametrize("ranking", ["kind", "global"])
def test_ranking_over_modules_takes_more_from_small_weights_but_leaves_a_module(ranking, make):
    net, groups, pruner = make(ranking=ranking)
    with torch.no_grad():
        for parameter in net[0].parameters():
            parameter.mul_(0.01)
    for _ in range(2):
        pruner.step_once()
    pruned = [int((~group.kept("device")).sum()) for group in groups]
    assert pruned[0] == 7  # one is kept in any case
    if ranking == "kind":
        assert pruned == [7, 2, 0]
    assert pruner.sparsity_report()["device"]["prunable"] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 0.9}, "leaves fewer than min_kept 1 heads; at most 0.750"),
        ({"kinds": {"units": 4}, "sparsity": 0.6}, "fewer than min_kept 4 units"),
        ({"kinds": {"units": 7}, "sparsity": 0.1}, "2 has 6 units, min_kept is 7"),
        ({"kinds": {"heats": 1}}, "the network has no heats; it has: heads, units"),
        ({"sparsity": 0.95, "ranking": "global"}, "at most"),
    ],
)
def test_refuses_to_prune_below_what_has_to_stay(change, message, make):
    with pytest.raises(ConfigError, match=message):
        make(**change)


def test_masks_that_contradict_each_other_are_refused(make):
    net, groups, pruner = make()
    net[0].up.mask("device")[0] = False
    with pytest.raises(ConfigError, match="mask of up does not fit the units that are kept"):
        pruner.check_masks()
    groups[0].keep("device", torch.zeros(8, dtype=torch.bool))
    with pytest.raises(ConfigError, match="0 of 8 units are kept, at least 1 must be"):
        pruner.check_masks()
    other = net.state_dict()
    other["1.up.mask_device"][0] = False  # a third of a head
    with pytest.raises(CheckpointError, match="partly kept"):
        net.load_state_dict(other)
