import torch
from torch import nn

from espnet2_supernet.supernet.norm import SubnetLayerNorm


def test_shared_norm_is_layer_norm():
    norm, plain = SubnetLayerNorm(4), nn.LayerNorm(4)
    assert list(norm.state_dict()) == list(plain.state_dict())
    norm.active = "device"
    x = torch.randn(2, 3, 4)
    assert torch.equal(norm(x), plain(x))


def test_each_subnet_trains_its_own():
    norm = SubnetLayerNorm(4, eps=1e-3)
    norm.weight.data.fill_(2.0)
    norm.add_subnets(["server", "device"])
    x = torch.randn(3, 4)
    assert torch.equal(norm.private("device").weight, norm.weight)  # starts as a copy
    norm.active = "device"
    norm(x).pow(2).sum().backward()
    assert norm.weight.grad is None and norm.private("device").weight.grad is not None
    norm.active = "server"
    norm(x).pow(2).sum().backward()
    assert norm.weight.grad is not None


def test_fold_keeps_one():
    norm = SubnetLayerNorm(4)
    norm.add_subnets(["server", "device", "watch"])
    norm.private("device").weight.data.fill_(3.0)
    assert norm.unused_parameters() == 2 * 8
    norm.fold("device")
    assert list(norm.state_dict()) == ["weight", "bias"]
    assert norm.weight.tolist() == [3.0] * 4 and norm.unused_parameters() == 0
