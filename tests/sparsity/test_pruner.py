import copy
import pickle

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec


def make(schedule=None, sizes=((8, 16), (6, 8)), **mask):
    """Layers ``fc0``, ``fc1``, ... with mask ``device`` and their pruner."""
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(MaskedLinear(cols, rows) for rows, cols in sizes)
    spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5, **mask})
    for layer in layers:
        layer.add_mask("device", spec.pattern)
    named = [(f"fc{i}", layer) for i, layer in enumerate(layers)]
    schedule = schedule or {"kind": "one_shot", "begin": 2}
    return layers, Pruner({"device": (spec, named)}, parse_schedule(schedule))


def run(pruner, steps):
    for _ in range(steps):
        pruner.step_once()


def test_state_is_in_buffers_and_layers_are_not_submodules():
    _, pruner = make()
    assert list(pruner.state_dict()) == ["step", "total_steps"]
    assert not list(pruner.parameters())


def test_keeps_the_largest_weights_and_changes_none():
    layers, pruner = make()
    before = [layer.weight.clone() for layer in layers]
    run(pruner, 2)
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.weight, weight)
        mask = layer.mask("device")
        assert mask.sum() == mask.numel() // 2
        assert weight.abs()[mask].min() > weight.abs()[~mask].max()


def test_global_ranking_takes_more_from_small_weights():
    layers, pruner = make(ranking="global")
    layers[1].weight.data.mul_(0.1)
    run(pruner, 2)
    report = pruner.sparsity_report()["device"]
    assert report["fc0"] < 0.5 < report["fc1"]
    assert report["prunable"] == pytest.approx(0.5, abs=0.01)


def test_cubic_rises_to_exactly_the_final_sparsity_then_freezes():
    schedule = {"kind": "cubic", "begin": 0.1, "end": 0.5, "update_every": 7}
    layers, pruner = make(schedule, sizes=((20, 50),), sparsity=0.7)
    pruner.set_total_steps(100)
    seen = {}
    for step in range(1, 61):
        layers[0].weight.data.normal_()  # new masks at every update
        before = layers[0].mask("device").clone()
        pruner.step_once()
        if not torch.equal(before, layers[0].mask("device")):
            seen[step] = pruner.sparsity_report()["device"]["prunable"]
        assert pruner.finished == pruner.frozen == (step >= 50)
    assert list(seen) == [17, 24, 31, 38, 45, 50]
    for step, sparsity in seen.items():
        assert sparsity == pytest.approx(0.7 * (1 - (1 - (step - 10) / 40) ** 3), abs=0.5e-3)
    assert seen[50] == 0.7


def test_constant_estimates_again_at_the_final_sparsity():
    layers, pruner = make({"kind": "constant", "begin": 2, "end": 6, "update_every": 2})
    masks = []
    for _ in range(8):
        layers[0].weight.data.normal_()
        pruner.step_once()
        masks.append(layers[0].mask("device").clone())
    assert [float(mask.float().mean()) for mask in masks] == [1.0] + [0.5] * 7
    changes = [not torch.equal(a, b) for a, b in zip(masks, masks[1:], strict=False)]
    assert changes == [True, False, True, False, True, False, False]


def test_fractions_need_the_number_of_steps():
    _, pruner = make({"kind": "cubic"})
    assert not pruner.finished and not pruner.frozen
    with pytest.raises(ConfigError, match="set_total_steps"):
        pruner.step_once()
    with pytest.raises(ConfigError, match="positive"):
        pruner.set_total_steps(0)


def test_stored_total_is_kept_unless_asked(caplog):
    layers, pruner = make({"kind": "cubic", "begin": 0.1, "end": 0.5, "update_every": 100})
    pruner.set_total_steps(100)
    run(pruner, 12)
    pruner.set_total_steps(20)
    assert int(pruner.total_steps) == 100 and "keeps its 100 steps" in caplog.text
    pruner.set_total_steps(20, override=True)  # step 12 is now after the end, step 10
    assert pruner.finished and layers[0].mask("device").float().mean() == 0.5


def test_a_schedule_longer_than_training_is_told(caplog):
    _, pruner = make({"kind": "cubic", "begin": 2, "end": 500})
    pruner.set_total_steps(100)
    assert "ends at step 500, training at step 100" in caplog.text


def test_hook_counts_real_steps_only():
    layers, pruner = make()
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    pruner.attach(optimizer)
    pruner.attach(optimizer)  # again, as after resuming: must not count twice
    x = torch.randn(4, 16)
    for minibatch in range(1, 7):
        loss = layers[1](layers[0](x)).sum()
        if minibatch == 4:
            loss = loss * torch.nan
        loss.backward()
        if minibatch % 2:
            continue  # accumulation
        norm = torch.nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad()
    assert int(pruner.step) == 2


def test_grad_scaler_skips_are_not_counted():
    layers, pruner = make()
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    pruner.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu")
    for factor in (1.0, float("inf"), 1.0):
        loss = layers[0](torch.ones(1, 16)).sum() * factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert int(pruner.step) == 2


def test_gradient_score_sums_up_between_updates():
    layers, pruner = make({"kind": "constant", "begin": 2, "end": 4, "update_every": 2},
                          sizes=((1, 4),), score="gradient")  # fmt: skip
    for gradient in ([1.0, 0, 0, 3], [1.0, 0, 4, 0], [9.0, 9, 0, 0], [0.0, 0, 1, 1]):
        layers[0].weight.grad = torch.tensor([gradient])
        pruner.step_once()
        if int(pruner.step) == 2:
            assert layers[0].mask("device").int().tolist() == [[0, 0, 1, 1]]
            assert not pruner.gradients.get("fc0").any()
        assert f"gradients.{'sum_fc0'}" in pruner.state_dict()
    assert layers[0].mask("device").int().tolist() == [[1, 1, 0, 0]]


def test_recompute_fits_moving_masks_and_leaves_frozen_ones():
    layers, pruner = make({"kind": "constant", "begin": 2, "end": 4, "update_every": 1})
    moved = {}
    for step in range(1, 6):
        run(pruner, 1)
        layers[0].weight.data.normal_()
        before = layers[0].mask("device").clone()
        pruner.recompute()
        moved[step] = not torch.equal(before, layers[0].mask("device"))
    assert moved == {1: False, 2: True, 3: True, 4: False, 5: False}


def test_reset_starts_again_with_the_same_masks():
    layers, pruner = make()
    run(pruner, 3)
    pruner.reset()
    assert int(pruner.step) == 0 and not pruner.finished
    assert layers[0].mask("device").float().mean() == 0.5


def test_masks_are_checked_with_name_layer_and_pattern():
    layers, pruner = make(pattern={"n_m": [2, 4]}, sparsity=None)
    pruner.check_masks()
    run(pruner, 2)
    pruner.check_masks()
    layers[1].mask("device").fill_(True)  # valid on the way, but not any more
    with pytest.raises(ConfigError, match="mask 'device' of layer fc1: .*n_m 2:4"):
        pruner.check_masks()


def test_a_mask_without_layers_is_refused():
    spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
    with pytest.raises(ConfigError, match="'device' selects no layer"):
        Pruner({"device": (spec, [])}, parse_schedule(None))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_prune_their_own_layers(clone):
    layers, pruner = make()
    pruner.attach(torch.optim.SGD(layers.parameters(), lr=0.1))
    model = torch.nn.ModuleDict({"layers": layers, "pruner": pruner})
    other = clone(model)
    run(other["pruner"], 2)
    assert other["layers"][0].mask("device").float().mean() == 0.5
    assert layers[0].mask("device").all() and int(pruner.step) == 0


def test_update_keeps_the_same_mask_tensor():
    layers, pruner = make()
    mask = layers[0].mask_device
    run(pruner, 2)
    assert layers[0].mask_device is mask
