"""Self-pruning: one weight matrix, used dense and under a sparse mask that it chooses itself.

A mask is the product of independent choices, each in a file of its own:

==============  =====================================  ==========================================
axis            asks                                   choices
==============  =====================================  ==========================================
pattern         which weights live or die together?    elementwise, block, n_m, structured
score           how important is a weight?             magnitude, gradient, taylor
ranking         against whom does it compete?          layer, kind, global
schedule        when, and how sparse by then?          cubic, constant, one_shot, prune_and_grow, l0
==============  =====================================  ==========================================

Reading order: ``linear`` (the masked layer), ``pattern`` and ``n_m``, ``score``, ``ranking``,
``schedule``, ``pruner`` (puts them together), ``averaging``. The ``*_spec`` files read YAML. What
can be cut out of a network for good is in ``units``, ``unit_group`` and ``unit_selection``;
``growth`` swaps groups by the gradients of ``effective``; ``hard_concrete`` learns gates instead of
scoring; ``rewinding`` starts each round of iterative pruning from the same weights.

Example:
    Two of four weights are kept. The first is pruned, but the dense pass goes on training it, and
    once it is large it takes the place of the second:

    >>> import torch
    >>> layer = MaskedLinear(4, 1, bias=False)
    >>> layer.add_mask("device")
    >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 0.8, 0.9, 0.0]]))
    >>> spec = MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5})
    >>> schedule = parse_schedule({"kind": "constant", "begin": 2, "end": 42, "update_every": 20})
    >>> pruner = Pruner({"device": (spec, [("fc", layer)])}, schedule)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    >>> pruner.attach(optimizer)
    >>> wanted = torch.tensor([[2.0], [0.1], [1.0], [0.0]])
    >>> for step in range(1, 43):
    ...     optimizer.zero_grad()
    ...     for mask in (None, "device"):  # the dense pass, then the sparse one
    ...         layer.active_mask = mask
    ...         (layer(torch.eye(4)) - wanted).pow(2).sum().backward()
    ...     optimizer.step()
    ...     if step in (1, 2, 21, 22):
    ...         print(f"step {step:2}", layer.mask("device").int().tolist())
    step  1 [[1, 1, 1, 1]]
    step  2 [[0, 1, 1, 0]]
    step 21 [[0, 1, 1, 0]]
    step 22 [[1, 0, 1, 0]]
"""

from espnet2_supernet.sparsity.averaging import average_into, average_state_dicts
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern_spec import parse_pattern
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.schedule_spec import ScheduleSpec, parse_schedule
from espnet2_supernet.sparsity.spec import MaskSpec

__all__ = [
    "MaskSpec",
    "MaskedLinear",
    "Pruner",
    "ScheduleSpec",
    "average_into",
    "average_state_dicts",
    "parse_pattern",
    "parse_schedule",
]
