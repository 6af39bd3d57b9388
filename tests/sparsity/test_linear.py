import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.pattern import Block


def masked_layer(pattern=None):
    torch.manual_seed(0)
    layer = MaskedLinear(6, 4)
    layer.add_mask("device", pattern)
    return layer


def test_is_a_linear_layer_until_a_mask_is_active():
    layer = masked_layer()
    layer.mask("device").fill_(False)
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    layer.active_mask = "device"
    assert torch.equal(layer(x), layer.bias.expand(3, 4))


def test_keys_are_those_of_linear_plus_masks():
    assert list(masked_layer().state_dict()) == ["weight", "bias", "mask_device"]


def test_masked_pass_trains_kept_weights_only_and_dense_pass_all():
    layer = masked_layer()
    layer.mask("device")[:, ::2] = False
    x = torch.randn(5, 6)
    layer.active_mask = "device"
    layer(x).pow(2).sum().backward()
    assert torch.all(layer.weight.grad[:, ::2] == 0)
    assert torch.all(layer.weight.grad[:, 1::2] != 0)
    layer.active_mask = None
    layer(x).pow(2).sum().backward()
    assert torch.all(layer.weight.grad[:, ::2] != 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_type_of_the_weight(dtype):
    layer = masked_layer().to(dtype)
    layer.active_mask = "device"
    assert layer.mask("device").dtype == torch.bool
    assert layer(torch.randn(2, 6, dtype=dtype)).dtype == dtype


def test_copies_and_pickles_keep_masks():
    layer = masked_layer(Block(2, 2))
    layer.mask("device")[:2, :2] = False
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other.mask("device"), layer.mask("device"))
        assert other.patterns == layer.patterns
        other.mask("device").fill_(True)
        assert not layer.mask("device").all()


def test_state_dict_round_trip():
    layer, other = masked_layer(), masked_layer()
    layer.mask("device")[0] = False
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other.mask("device"), layer.mask("device"))


def test_a_damaged_mask_is_refused():
    layer = nn.Sequential(masked_layer())
    state = layer.state_dict()
    averaged = {**state, "0.mask_device": state["0.mask_device"].float() / 3}
    with pytest.raises(CheckpointError, match="0.mask_device: a mask is bool.*average_checkpoints"):
        layer.load_state_dict(averaged)
    wrong_shape = {**state, "0.mask_device": torch.ones(4, 5, dtype=torch.bool)}
    with pytest.raises(CheckpointError, match=r"mask \(4, 5\) does not fit weight \(4, 6\)"):
        layer.load_state_dict(wrong_shape)


@pytest.mark.parametrize("pattern, name", [(Block(2, 3), "block 2x3"), (NM(2, 3), "n_m 2:3")])
def test_a_mask_that_does_not_fit_its_pattern_is_refused(pattern, name):
    layer = masked_layer(pattern)
    state = layer.state_dict()
    state["mask_device"] = state["mask_device"].clone()
    state["mask_device"][0, :2] = False
    with pytest.raises(CheckpointError, match=f"mask_device.*{name}"):
        layer.load_state_dict(state)


def test_a_missing_mask_is_an_error_under_strict_only():
    layer = masked_layer()
    dense = nn.Linear(6, 4).state_dict()
    with pytest.raises(RuntimeError, match="mask_device"):
        layer.load_state_dict(dense)
    layer.load_state_dict(dense, strict=False)
    assert layer.mask("device").all()


def test_names_are_checked():
    layer = masked_layer()
    for name in ("device", "a.b", ""):
        with pytest.raises(ConfigError, match="mask name"):
            layer.add_mask(name)
    with pytest.raises(ConfigError, match="no mask 'server'; this layer has: device"):
        layer.mask("server")


def test_removing_masks_leaves_a_plain_layer():
    layer = masked_layer()
    layer.active_mask = "device"
    layer.remove_masks()
    assert list(layer.state_dict()) == ["weight", "bias"] and layer.active_mask is None
