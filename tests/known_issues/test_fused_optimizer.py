"""The pruner counted the steps that a fused optimiser skips for the gradient scaler.

A fused optimiser is always called and looks for infinite gradients itself, so its hook runs even
when no weight changes; the schedule then ran ahead of the updates.
"""

import torch

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec
from espnet2_supernet.sparsity.spec import MaskSpec


def test_a_skipped_step_of_a_fused_optimizer_does_not_count():
    layer = MaskedLinear(4, 2)
    layer.add_mask("device")
    spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
    pruner = Pruner({"device": (spec, [("fc", layer)])}, ScheduleSpec("one_shot", begin=9))
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    pruner.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu")
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(factor * layer(torch.ones(1, 4)).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert pruner.step == 2
