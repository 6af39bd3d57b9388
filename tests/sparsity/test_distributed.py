"""Two processes with half a batch each find the masks of one process with the whole batch."""

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.sparsity.unit_selection import find_units, select_units
from espnet2_supernet.sparsity.units import UnitPart, Units


class Net(torch.nn.Module):
    """Dense and masked pass in one forward, as the recogniser has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = MaskedLinear(16, 8)
        spec = MaskSpec.parse({"pattern": {"block": [2, 1]}, "sparsity": 0.5, "score": "taylor"})
        self.fc.add_mask("device", spec.pattern)
        schedule = parse_schedule({"kind": "cubic", "begin": 2, "end": 8, "update_every": 2})
        self.pruner = Pruner({"device": (spec, [("fc", self.fc)])}, schedule)

    def forward(self, x, y):
        dense = self.fc(x)
        self.fc.active_mask = "device"
        sparse = self.fc(x)
        self.fc.active_mask = None
        return (dense - y).pow(2).mean() + (sparse - y).pow(2).mean()


class GrowingNet(torch.nn.Module):
    """One masked pass whose mask swaps blocks by the gradient of the effective weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = MaskedLinear(16, 8)
        spec = MaskSpec.parse({"pattern": {"block": [2, 1]}, "sparsity": 0.5})
        self.fc.add_mask("device", spec.pattern)
        schedule = parse_schedule(
            {
                "kind": "prune_and_grow",
                "begin": 2,
                "end": 8,
                "update_every": 2,
                "growth": "zero",
                "gradient_steps": 2,
                "swap": 0.5,
            }
        )
        self.pruner = Pruner({"device": (spec, [("fc", self.fc)])}, schedule)
        self.fc.active_mask = "device"

    def forward(self, x, y):
        return (self.fc(x) - y).pow(2).mean()


class GatedNet(torch.nn.Module):
    """One pass whose units are closed by gates, which are then folded into the weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up, self.fc = MaskedLinear(16, 8), MaskedLinear(8, 8)
        spec = MaskSpec.parse({"pattern": {"structured": {"kinds": ["units"]}}, "sparsity": 0.5})
        groups = select_units(find_units(self), {"units": 1})
        for group in groups:
            group.add_mask("device")
        schedule = parse_schedule({"kind": "l0", "begin": 2, "end": 8, "learning_rate": 0.1})
        self.pruner = Pruner({"device": (spec, groups)}, schedule)
        self.up.active_mask = self.fc.active_mask = "device"

    def units(self):
        parts = (UnitPart("up", "output"), UnitPart("fc", "input"))
        return (Units("units", self.fc.in_features, parts),)

    def forward(self, x, y):
        return (self.fc(torch.tanh(self.up(x))) - y).pow(2).mean()


def train(net, part):
    model = DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.pruner.attach(optimizer)
    for step in range(10):
        x = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x[part], x[part] @ torch.ones(16, 8)).backward()
        optimizer.step()
    return net.state_dict()


KINDS = (Net, GrowingNet, GatedNet)


def worker(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for kind in KINDS:
        state = train(kind(), slice(4 * rank, 4 * rank + 4))
        torch.save(state, os.path.join(folder, f"{kind.__name__}{rank}.pth"))
    dist.destroy_process_group()


def test_ranks_agree_with_each_other_and_with_one_process(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, args=(port, str(tmp_path)), nprocs=2)
    for kind in KINDS:
        files = [tmp_path / f"{kind.__name__}{rank}.pth" for rank in (0, 1)]
        first, second = (torch.load(file, weights_only=True) for file in files)
        single = train(kind(), slice(0, 8))
        assert first.keys() == single.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), key
            torch.testing.assert_close(value, single[key], rtol=1e-5, atol=1e-6)
        assert first["fc.mask_device"].float().mean() == 0.5 and int(first["pruner.step"]) == 10
