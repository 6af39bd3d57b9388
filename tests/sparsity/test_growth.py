import copy

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear

UNITS = {"structured": {"kinds": ["units", "heads"]}}


def changed(before, after):
    return any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("pattern", [UNITS, {"block": [2, 2]}, "elementwise"])
@pytest.mark.parametrize("ranking", ["layer", "kind", "global"])
def test_a_swap_keeps_the_number_of_active_groups(pattern, ranking, training):
    run = training(pattern=pattern, ranking=ranking)
    counts, masks = [], []
    for _ in range(12):
        run.step()
        counts.append([int(keep.sum()) for keep in run.kept()])
        masks.append(run.masks())
        run.pruner.check_masks()
    assert sum(counts[0]) > sum(counts[1])  # pruned after step 2
    assert len({sum(one) for one in counts[1:]}) == 1
    if ranking == "layer":
        assert len({tuple(one) for one in counts[1:]}) == 1
    assert all(min(one) >= 1 for one in counts)
    assert changed(masks[1], masks[3]) and changed(masks[3], masks[5])
    assert not changed(masks[1], masks[2])  # between two updates
    assert not changed(masks[9], masks[11]) and run.pruner.frozen


def test_growth_follows_the_gradient_of_the_effective_weight(training, activate):
    run = training({"gradient_steps": 2})
    for _ in range(2):
        run.step()
    expected = {}
    for step in (3, 4):  # both count for the update after step 4
        run.pruner._prepare()
        leaves = {}
        for name, layer in run.net.named_modules():
            if isinstance(layer, MaskedLinear) and name.endswith("down"):
                leaves[name] = layer.effective_weight().detach().requires_grad_()
        reference = copy.deepcopy(run.net)
        activate(reference, None)
        for name, leaf in leaves.items():
            layer = reference.get_submodule(name)
            del layer.weight
            layer.weight = leaf
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(10 * (step - 1)))
        (reference(x) - x.cumsum(1)).square().mean().backward()
        for name, leaf in leaves.items():
            expected[name] = expected.get(name, 0) + leaf.grad.abs()
        if step == 3:
            run.step()
    run.optimizer.zero_grad()
    run.loss(3).backward()
    run.pruner.growth.effective.add()
    sums = run.pruner.growth.effective.of("device")
    for name, gradient in expected.items():
        mask = run.net.get_submodule(name).mask("device")
        torch.testing.assert_close(sums.get(name), gradient)
        assert (sums.get(name)[~mask] > 0).any()  # dL/dW is zero there
        assert (run.net.get_submodule(name).weight.grad[~mask] == 0).all()
    assert sums.get("0.up") is None  # nobody reads a pruned row: no gradient


def test_minibatches_of_a_step_are_one_gradient_and_an_epoch_starts_clean(training):
    run = training()
    while int(run.pruner.step) < 3:
        run.step()
    run.model.train()
    run.loss(0).backward()  # of an epoch that ended within an accumulation
    run.model.train()
    for minibatch in range(2):
        (run.loss(3, minibatch) / 2).backward()
    gathered = run.net[0].down.effective_grads["device"].clone()
    run.model.train()
    (sum(run.loss(3, minibatch) for minibatch in range(2)) / 2).backward()
    torch.testing.assert_close(run.net[0].down.effective_grads["device"], gathered)
    run.pruner.growth.effective.add()
    sums = run.pruner.growth.effective.of("device").get("0.down")
    torch.testing.assert_close(sums, gathered.abs())
    run.net[0].down.effective_grads["device"] = torch.full_like(gathered, torch.nan)
    run.pruner.growth.effective.add()  # an overflow under mixed precision
    assert torch.equal(run.pruner.growth.effective.of("device").get("0.down"), sums)


@pytest.mark.parametrize("growth", ["kept", "zero", "initial"])
def test_grown_units_start_as_the_schedule_says(growth, training):
    run = training({"growth": growth, "end": 12, "update_every": 4})
    for _ in range(2):
        run.step()
    first = {key: p.detach().clone() for key, p in run.net.named_parameters()}
    for _ in range(3):
        run.step()
    before, seen = run.masks(), []

    def look():  # just before the update: what is about to be overwritten
        seen.append({key: p.detach().clone() for key, p in run.net.named_parameters()})

    gradients = run.pruner.growth.effective
    add = gradients.add
    gradients.add = lambda: (look(), add())[1]
    run.step()
    grown = 0
    for name, layer in run.net.named_modules():
        if not isinstance(layer, MaskedLinear):
            continue
        new = layer.mask("device") & ~before[f"{name}.mask_device"]
        grown += int(new.sum())
        key = f"{name}.weight"
        reader = name.endswith("down")
        wanted = {"kept": seen[-1][key], "initial": first[key]}.get(growth)
        if growth == "zero":
            wanted = torch.zeros_like(layer.weight) if reader else seen[-1][key]
        assert torch.equal(layer.weight[new], wanted[new])
        moments = run.optimizer.state[layer.weight]["exp_avg"][new]
        if growth == "initial" or (growth == "zero" and reader):
            assert (moments == 0).all()
        assert torch.equal(layer.weight[~new], seen[-1][key][~new])
    assert grown > 0


@pytest.mark.parametrize("growth", ["kept", "zero", "initial"])
@pytest.mark.parametrize("stop", [3, 5, 8])
def test_resumed_equals_uninterrupted(growth, stop, training):
    schedule = {"growth": growth, "gradient_steps": 2}
    whole = training(schedule)
    for _ in range(12):
        whole.step()
    first = training(schedule)
    for _ in range(stop):
        first.step()
    states = copy.deepcopy((first.model.state_dict(), first.optimizer.state_dict()))
    second = training(schedule)
    with torch.no_grad():
        for parameter in second.net.parameters():
            parameter.add_(1.0)  # nothing of it may remain
    second.model.load_state_dict(states[0])
    second.optimizer.load_state_dict(states[1])
    for _ in range(12 - stop):
        second.step()
    expected = whole.model.state_dict()
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_zero_growth_does_not_change_the_output_and_dropping_does(training):
    run = training({"growth": "zero", "swap": 1.0})
    while int(run.pruner.step) < 3:
        run.step()
    x = torch.randn(4, 6)
    before = run.masks()
    run.step()
    after = run.masks()
    with torch.no_grad():
        out = run.net(x)
        for name, layer in run.net.named_modules():
            if isinstance(layer, MaskedLinear):  # without what has just grown
                key = f"{name}.mask_device"
                layer.mask("device").copy_(before[key] & after[key])
        torch.testing.assert_close(run.net(x), out, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "mask", "message"),
    [
        ({"swap": 1.5}, {}, "swap: a fraction from 0 to 1"),
        ({"growth": "random"}, {}, "growth: write kept or zero or initial"),
        ({"gradient_steps": 0}, {}, "gradient_steps: a whole number"),
        ({"grow": 1}, {}, "unknown key 'grow'; did you mean 'growth'"),
        ({"adjust": "dense"}, {}, "unknown key 'adjust'"),
        ({}, {"score": "taylor"}, "drops by magnitude"),
        ({}, {"pattern": {"n_m": [2, 4]}, "sparsity": None}, "cannot swap groups of pattern n_m"),
    ],
)
def test_refuses(schedule, mask, message, training):
    with pytest.raises(ConfigError, match=message):
        training(schedule, **mask)
