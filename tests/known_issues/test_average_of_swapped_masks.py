"""An average took the last of masks that differ where no one could fit them to its weights.

Masks of swaps, gates and rewound weights do not follow from the weights.
"""

import copy

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.sparsity.averaging import average_into
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec

SCHEDULES = {
    "swaps": {"kind": "prune_and_grow", "begin": 2, "end": 9, "update_every": 2},
    "rewinding": {"kind": "cubic", "begin": 2, "end": 9, "update_every": 2, "rewind": True},
    "none": {"kind": "cubic", "begin": 2, "end": 9, "update_every": 2},
}


class Net(nn.Module):
    def __init__(self, schedule):
        super().__init__()
        spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
        self.fc = MaskedLinear(6, 4)
        self.fc.add_mask("device")
        masks = {"device": (spec, [("fc", self.fc)])}
        self.pruner = Pruner(masks, parse_schedule(schedule), network=self)


def states_of(net, differ):
    """Two checkpoints at step 5, whose masks differ or do not."""
    for number in range(2):
        net.pruner.step.fill_(5)
        mask = torch.ones(4, 6, dtype=torch.bool)
        mask[:, number if differ else 0 :: 2] = False
        net.fc.mask("device").copy_(mask)
        yield copy.deepcopy(net.state_dict())


@pytest.mark.parametrize("kind", SCHEDULES)
def test_masks_that_differ_are_refused(kind):
    net = Net(SCHEDULES[kind])
    states = list(states_of(net, differ=True))
    if kind == "none":
        average_into(net, states)
        return
    with pytest.raises(CheckpointError, match="fc.mask_device.*prune_and_grow, l0 and rewind"):
        average_into(net, states)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_equal_masks_are_kept(kind):
    net = Net(SCHEDULES[kind])
    states = list(states_of(net, differ=False))
    found = average_into(net, states)["fc.mask_device"]
    assert kind == "none" or torch.equal(found, states[0]["fc.mask_device"])


def test_gates_are_as_swaps():
    assert not parse_schedule({"kind": "l0"}).masks_follow_weights
