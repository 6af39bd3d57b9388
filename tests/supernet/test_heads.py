"""Rows of the table that have an output layer of their own."""

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.supernet import Supernet

ROWS = {"server": None, "half": {"head": "own"}, "low": {"head": "shared"}}


def test_the_table_is_written_as_it_was_read():
    config = SupernetConfig.parse({"subnets": ROWS})
    assert [one.own_head for one in config.subnets.values()] == [False, True, False]
    written = config.to_dict()
    assert [row.get("head") for row in written["subnets"].values()] == [None, "own", None]
    assert SupernetConfig.parse(written) == config


@pytest.mark.parametrize("layer_norm", ["shared", "per_subnet"])
def test_the_norm_before_the_head_is_its_own(layer_norm):
    net = nn.Sequential(SubnetLayerNorm(4), SubnetLayerNorm(4, precedes_head=True))
    config = SupernetConfig.parse({"subnets": ROWS, "layer_norm": layer_norm})
    supernet = Supernet(net, config)
    private = {name: [norm.private(name) is not None for norm in net] for name in ROWS}
    everywhere = layer_norm == "per_subnet"
    assert private == {
        "server": [False, False], "half": [everywhere, True], "low": [everywhere, everywhere]
    }  # fmt: skip
    assert all(supernet.counts(name)["parameters"] == 2 * 2 * 4 for name in ROWS)
    nn.init.constant_(net[1].private("half").bias, 3.0)
    small, x = supernet.extract("half"), torch.randn(2, 4)
    with supernet.active_subnet("half"):
        assert torch.equal(small(x), net(x)) and not torch.equal(net(x), net[0](x))
    assert len(list(small.parameters())) == 4


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"subnets": {"a": {"head": "mine"}}}, r"subnets\.a\.head: write shared or own"),
        ({"subnets": {"a": {"haed": "own"}}}, "did you mean 'head'"),
        ({"subnets": {"a": {"head": "own"}, "b": None}}, "the first subnet has the shared head"),
        ({"subnets": {"a": None, "b": {"depth": 1, "head": "own"}},
          "sampling": {"by_layerdrop": ["b"]}}, "b.head: sampling.by_layerdrop never draws 'b'"),
        ({"subnets": {"a": {"depth": 1}, "b": {"head": "own"}},
          "sampling": {"by_layerdrop": ["a"]}}, "nothing would train it: take 'a' out"),
    ],
)  # fmt: skip
def test_a_head_that_nothing_would_train_is_refused(conf, message):
    with pytest.raises(ConfigError, match=message):
        SupernetConfig.parse(conf)
