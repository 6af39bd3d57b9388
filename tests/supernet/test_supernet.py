import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.supernet import Supernet

TABLE = {
    "server": {"context": "full"},
    "device": {
        "context": {"chunk_size": [16, 8]},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5, "exclude": ["head"]},
    },
    "watch": {"context": {"chunk_size": 4}, "mask": {"pattern": {"n_m": [1, 4]}}},
    "twin": {"context": {"chunk_size": 4}, "mask": "device"},
}


class Model(nn.Module):
    """An encoder of two layers and a head, with its supernet and its pruner."""

    def __init__(self, **conf):
        super().__init__()
        torch.manual_seed(0)
        layers = {"fc": MaskedLinear(8, 8), "norm": SubnetLayerNorm(8), "head": MaskedLinear(8, 4)}
        self.encoder = nn.Sequential(OrderedDict(layers))
        self.ctc = nn.Linear(4, 3)
        conf = {"subnets": TABLE, "schedule": {"kind": "one_shot", "begin": 2}, **conf}
        self.supernet = Supernet(self.encoder, SupernetConfig.parse(conf))
        self.pruner = self.supernet.pruner(self)

    def forward(self, x, name):
        with self.supernet.active_subnet(name):
            return self.ctc(self.encoder(x))


def pruned_model(**conf):
    model = Model(**conf)
    for _ in range(2):
        model.pruner.step_once()
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.weight.data.uniform_(0.5, 2.0)
    return model


X = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


def test_masks_go_where_the_table_says():
    model = Model()
    assert list(model.encoder.fc.patterns) == ["device", "watch"]
    assert list(model.encoder.head.patterns) == ["watch"]
    keys = [key for key in model.state_dict() if "mask" in key]
    assert "encoder.fc.mask_device" in keys and "encoder.fc.weight" in model.state_dict()


def test_subnets_differ_and_the_state_before_comes_back():
    model = pruned_model()
    dense = model.encoder(X)
    with model.supernet.active_subnet("device") as device:
        assert device.name == "device" and device.context.chunk_size == 16
        sparse = model.encoder(X)
        with model.supernet.active_subnet("watch"):
            sparser = model.encoder(X)
        assert torch.equal(model.encoder(X), sparse)
    assert torch.equal(model.encoder(X), dense)
    assert not torch.equal(dense, sparse) and not torch.equal(sparse, sparser)
    assert torch.equal(model(X, "twin"), model(X, "device"))


def test_state_comes_back_after_an_exception():
    model = pruned_model()
    with pytest.raises(ZeroDivisionError), model.supernet.active_subnet("device"):
        raise ZeroDivisionError
    assert model.encoder.fc.active_mask is None and model.encoder.norm.active is None


def test_unknown_subnets_are_refused():
    supernet = Model().supernet
    for verb in (supernet.subnet, supernet.extract, supernet.counts):
        with pytest.raises(ConfigError, match="no subnet 'tablet'; this supernet has: server, dev"):
            verb("tablet")
    with pytest.raises(ConfigError, match="no subnet"), supernet.active_subnet("tablet"):
        pass


def test_every_parameter_has_a_user():
    for layer_norm in ("shared", "per_subnet"):
        model = Model(layer_norm=layer_norm)
        sum(model(X, name).sum() for name in TABLE).backward()
        unused = [name for name, p in model.named_parameters() if p.grad is None]
        assert not unused


def test_a_mask_has_to_select_something():
    table = {"a": {"mask": {"pattern": "elementwise", "sparsity": 0.5, "include": ["decoder"]}}}
    with pytest.raises(ConfigError, match="'a' selects none of the 2 .* include .'decoder'"):
        Model(subnets=table)


def test_dense_tables_have_no_pruner():
    assert Model(subnets={"server": None}).pruner is None


def test_samples_are_rows_of_the_table():
    model = Model(sampling={"always": ["server", "watch"], "extra": 1})
    for step in range(10):
        rows = model.supernet.sample_subnets(step)
        assert [row[0].name for row in rows if row[0].name in ("server", "watch")] == [
            "server",
            "watch",
        ]
        assert len(rows) == 3 and all(context in subnet.contexts for subnet, context, _ in rows)


def test_counts_add_up():
    model = pruned_model(layer_norm="per_subnet")
    encoder = 8 * 8 + 8 + 16 + 8 * 4 + 4
    assert model.supernet.counts("server") == {
        "parameters": encoder, "nonzero": encoder, "prunable": 96, "prunable_nonzero": 96,
    }  # fmt: skip
    assert model.supernet.counts("device") == {
        "parameters": encoder, "nonzero": encoder - 32, "prunable": 64, "prunable_nonzero": 32,
    }  # fmt: skip
    whole = model.supernet.counts("watch", model)
    assert whole["parameters"] == encoder + 15 and whole["nonzero"] == encoder + 15 - 72
    report = model.pruner.sparsity_report()
    expected = {"fc": 0.75, "head": 0.75, "prunable": 0.75, "total": 72 / (encoder + 15)}
    assert report["watch"] == expected


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(clone):
    model = pruned_model(layer_norm="per_subnet")
    other = clone(model)
    for name in TABLE:
        assert torch.equal(other(X, name), model(X, name))
    assert other.supernet.root is other.encoder
    with other.supernet.active_subnet("device"):
        assert model.encoder.fc.active_mask is None
        assert other.encoder.fc.active_mask == "device"


def test_checkpoint_carries_the_subnets(tmp_path):
    model = pruned_model(layer_norm="per_subnet")
    torch.save(model.state_dict(), tmp_path / "model.pth")
    other = Model(layer_norm="per_subnet")
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    assert other.pruner.finished
    for name in TABLE:
        assert torch.equal(other(X, name), model(X, name))


def test_a_checkpoint_of_another_pattern_is_refused():
    state = pruned_model().state_dict()
    table = {**TABLE, "device": {**TABLE["device"], "mask": {"pattern": {"block": [8, 2]},
             "sparsity": 0.5, "exclude": ["head"]}}}  # fmt: skip
    with pytest.raises(CheckpointError, match="encoder.fc.mask_device.*block 8x2"):
        Model(subnets=table).load_state_dict(state)
