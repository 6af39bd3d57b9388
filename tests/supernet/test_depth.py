"""Subnets that run some of the layers, and steps that leave layers out."""

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.depth import Depth, LayerStack, choose_layers, parse_depth
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.supernet import Supernet

torch.set_num_threads(1)
MASK = {"pattern": "elementwise", "sparsity": 0.5}
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = MaskedLinear(4, 4), SubnetLayerNorm(4)

    @property
    def bypass_norm(self):
        return self.norm

    def forward(self, x):
        return self.norm(x + self.fc(x))


class Network(nn.Module):
    def __init__(self, subnets, num_layers=4, keep_norm=False, **conf):
        super().__init__()
        torch.manual_seed(0)
        self.stack = LayerStack([Layer() for _ in range(num_layers)], keep_norm)
        for norm in self.stack.modules():
            if isinstance(norm, SubnetLayerNorm):
                nn.init.uniform_(norm.weight, 0.5, 2.0)
        config = SupernetConfig.parse({"subnets": subnets, **conf})
        self.supernet = Supernet(self.stack, config)

    def forward(self, x):
        running = self.stack.running()
        for layer in self.stack:
            x = layer(x) if layer in running else self.stack.bypass(layer, x)
        return x


def run(network, name):
    with network.supernet.active_subnet(name):
        return network(X)


@pytest.mark.parametrize("keep", ["first", "last", "spread"])
@pytest.mark.parametrize("available", [2, 6, 12])
def test_layers_are_distinct_and_in_order(keep, available):
    for wanted in range(1, available + 1):
        places = choose_layers(keep, wanted, available)
        assert len(set(places)) == wanted and list(places) == sorted(places)
        assert 0 <= places[0] and places[-1] < available
        assert (places[0] == 0) if keep == "first" else (places[-1] == available - 1)
    assert choose_layers("spread", available // 2, available) == tuple(range(1, available, 2))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (0, "depth: a number of layers from 1"),
        (True, "depth: a number of layers from 1"),
        ({"layer": 2}, "unknown key 'layer'; did you mean 'layers'"),
        ({"layers": 2, "keep": "every"}, "keep: choose one of first, last, spread"),
    ],
)
def test_bad_depths_are_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_depth(spec, "t.depth")


def test_a_depth_that_does_not_fit_is_named():
    with pytest.raises(ConfigError, match="subnets.a.depth: 5 layers wanted, the encoder has 4"):
        Network({"a": {"depth": 5}})
    with pytest.raises(ConfigError, match="no subnet runs layer 2, 3 .*num_blocks"):
        Network({"a": {"depth": 2}, "b": {"depth": 1}})
    with pytest.raises(ConfigError, match="no layers to choose from"):
        Supernet(nn.Linear(2, 2), SupernetConfig.parse({"subnets": {"a": {"depth": 1}}}))


def test_a_subnet_runs_its_layers_and_the_state_before_comes_back():
    last = {"depth": {"layers": 2, "keep": "last"}}
    network = Network({"whole": None, "low": {"depth": 2}, "high": last})
    first, second, third, fourth = network.stack
    torch.testing.assert_close(run(network, "low"), second(first(X)))
    torch.testing.assert_close(run(network, "high"), fourth(third(X)))
    torch.testing.assert_close(network(X), fourth(third(second(first(X)))))
    with network.supernet.active_subnet("low"), network.supernet.active_subnet("whole"):
        torch.testing.assert_close(network(X), fourth(third(second(first(X)))))
    assert network.stack.depth is None


def test_counts_and_extraction_leave_the_other_layers_out():
    subnets = {"whole": None, "low": {"depth": {"layers": 2, "keep": "spread"}, "mask": MASK}}
    network = Network(subnets, layer_norm="per_subnet")
    masked = [i for i, layer in enumerate(network.stack) if "low" in layer.fc.patterns]
    assert masked == [1, 3]
    names = [key for key in network.state_dict() if "norm_low" in key or "mask" in key]
    assert names and all(key.startswith(("stack.1.", "stack.3.")) for key in names)
    layer = 4 * 4 + 4 + 8
    assert network.supernet.counts("whole")["parameters"] == 4 * layer
    counts = network.supernet.counts("low")
    assert (counts["parameters"], counts["prunable"]) == (2 * layer, 32)
    with torch.no_grad():
        network.stack[3].fc.mask("low")[0] = False
        network.stack[3].norm.private("low").bias.fill_(2.0)
    small = network.supernet.extract("low")
    assert sum(p.numel() for p in small.parameters()) == 2 * layer and len(small) == 2
    torch.testing.assert_close(small[1](small[0](X)), run(network, "low"))
    assert len(network.stack) == 4


def test_every_parameter_has_a_user_with_private_norms():
    network = Network({"low": {"depth": 2}, "whole": None}, layer_norm="per_subnet")
    (run(network, "low").sum() + run(network, "whole").sum()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_a_shallow_subnet_can_keep_the_norms_of_the_others():
    network = Network({"whole": None, "low": {"depth": 2}}, keep_norm=True)
    first, second, third, fourth = network.eval().stack
    torch.testing.assert_close(run(network, "low"), fourth.norm(third.norm(second(first(X)))))
    assert network.supernet.counts("low")["parameters"] == 2 * 28 + 2 * 8
    small = network.supernet.extract("low")
    assert sum(p.numel() for p in small.parameters()) == 2 * 28 + 2 * 8
    x = X
    for layer in small:
        x = layer(x)
    torch.testing.assert_close(x, run(network, "low"))
    assert len(network.supernet.extract("whole")) == len(network.stack) == 4


def test_the_table_survives_yaml():
    given = {"subnets": {"a": {"depth": {"layers": 3, "keep": "spread"}}, "b": {"depth": 2}}}
    config = SupernetConfig.parse(given)
    assert config.subnets["b"].depth == Depth(2, "first")
    assert SupernetConfig.parse(config.to_dict()) == config


def test_layerdrop_alone_can_train_a_depth():
    config = {
        "subnets": {"whole": None, "low": {"depth": 2}},
        "sampling": {"by_layerdrop": ["low"]},
    }
    parsed = SupernetConfig.parse(config)
    drawn = [row[0].name for row in parsed.sampling.draw(parsed.subnets, parsed.loss_weights, 3)]
    assert drawn == ["whole"] == list(parsed.sampling.always)
    assert SupernetConfig.parse(parsed.to_dict()) == parsed
    assert "by_layerdrop" not in SupernetConfig.parse({}).to_dict()["sampling"]
    with pytest.raises(ConfigError, match="'low' needs a depth, and encoder_conf.layerdrop above"):
        Network(**config)
    for sampling in ({"by_layerdrop": ["lo"]}, {"by_layerdrop": ["whole", "low"]}):
        with pytest.raises(ConfigError, match="no subnet 'lo'|some subnet must be trained"):
            SupernetConfig.parse(config | {"sampling": sampling})
