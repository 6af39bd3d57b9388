"""A network with units to cut, and a training of it under its mask."""

import pytest
import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.sparsity.unit_selection import find_units, select_units
from espnet2_supernet.sparsity.units import UnitPart, Units


class Hidden(nn.Module):
    """Units of ``size`` entries each between two matrices."""

    def __init__(self, count, size=1, kind="units"):
        super().__init__()
        self.count, self.size, self.kind = count, size, kind
        self.up = MaskedLinear(6, count * size)
        self.down = MaskedLinear(count * size, 6)

    def units(self):
        parts = (UnitPart("up", "output", self.size), UnitPart("down", "input", self.size))
        return (Units(self.kind, self.down.in_features // self.size, parts),)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x)))


def activate(net, mask):
    for layer in net.modules():
        if isinstance(layer, MaskedLinear):
            layer.active_mask = mask


SAFARI = {"kind": "prune_and_grow", "begin": 2, "end": 10, "update_every": 2, "swap": 0.5}
UNITS = {"structured": {"kinds": ["units", "heads"]}}


class Training:
    """Three modules with units, trained under their mask by Adam on data drawn from the step."""

    def __init__(self, schedule=None, pattern=UNITS, ranking="kind", **mask):
        torch.manual_seed(0)
        self.net = nn.Sequential(Hidden(8), Hidden(4, size=3, kind="heads"), Hidden(8))
        spec = MaskSpec.parse({"pattern": pattern, "sparsity": 0.5, "ranking": ranking, **mask})
        if pattern == UNITS:
            targets = select_units(find_units(self.net), {"units": 1, "heads": 1})
            for group in targets:
                group.add_mask("device")
        else:
            named = self.net.named_modules()
            targets = [(name, m) for name, m in named if isinstance(m, MaskedLinear)]
            for _, layer in targets:
                layer.add_mask("device", spec.pattern)
        base = {} if "kind" in (schedule or {}) else SAFARI
        schedule = parse_schedule({**base, **(schedule or {})})
        self.pruner = Pruner({"device": (spec, targets)}, schedule)
        self.model = nn.ModuleDict({"net": self.net, "pruner": self.pruner})
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)
        self.pruner.attach(self.optimizer)
        activate(self.net, "device")

    def loss(self, step, minibatch=0):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(10 * step + minibatch))
        return (self.net(x) - x.cumsum(1)).square().mean()

    def step(self):
        self.optimizer.zero_grad()
        self.loss(int(self.pruner.step)).backward()
        self.optimizer.step()

    def masks(self):
        states = self.net.state_dict()
        return {key: value.clone() for key, value in states.items() if "mask" in key}

    def kept(self):
        return [one.kept("device") for one in self.pruner._prunables["device"]]


@pytest.fixture(scope="session")
def hidden():
    """Return :class:`Hidden`."""
    return Hidden


@pytest.fixture(scope="session")
def training():
    """Return :class:`Training`."""
    return Training


@pytest.fixture(name="activate", scope="session")
def activate_fixture():
    """Return :func:`activate`."""
    return activate
