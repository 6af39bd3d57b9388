import pytest
import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.supernet import Supernet

CONF = {
    "subnets": {
        "server": {"context": "full"},
        "device": {"mask": {"pattern": {"block": [2, 2]}, "sparsity": 0.5}},
    },
    "schedule": {"kind": "one_shot", "begin": 2},
    "layer_norm": "per_subnet",
}
X = torch.ones(1, 6)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(MaskedLinear(6, 6), SubnetLayerNorm(6), MaskedLinear(6, 2))
        self.head = nn.Linear(2, 2)
        self.supernet = Supernet(self.encoder, SupernetConfig.parse(CONF))
        self.pruner = self.supernet.pruner(self)
        for _ in range(2):
            self.pruner.step_once()
        self.encoder[1].private("device").weight.data.uniform_(0.5, 2.0)

    def forward(self, x):
        return self.head(self.encoder(x))


@pytest.mark.parametrize("name", ["server", "device"])
def test_extracted_subnet_computes_the_same(name):
    model = Model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    encoder, whole = model.supernet.extract(name), model.supernet.extract(name, model)
    with model.supernet.active_subnet(name):
        assert torch.equal(encoder(X), model.encoder(X))
        assert torch.equal(whole(X), model(X))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_extracted_subnet_is_plain():
    model = Model()
    encoder = model.supernet.extract("device")
    plain = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    plain.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(plain(X), encoder(X))
    assert torch.equal(encoder[0].weight != 0, model.encoder[0].mask("device"))
    whole = model.supernet.extract("device", model)
    assert whole.supernet is None and whole.pruner is None
    assert not any(isinstance(module, Pruner) for module in whole.modules())


def test_extraction_does_not_depend_on_what_is_active():
    model = Model()
    with model.supernet.active_subnet("device"):
        server = model.supernet.extract("server")
    assert torch.equal(server(X), model.encoder(X))


def test_extracted_subnet_can_be_trained():
    encoder = Model().supernet.extract("device")
    encoder(X).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
