"""Self-pruning: one weight matrix, used dense and under a sparse mask that it chooses itself.

A mask is the product of independent choices, each in a file of its own:

==============  =====================================  ========================================
axis            asks                                   choices
==============  =====================================  ========================================
pattern         which weights live or die together?    elementwise, block, n_m, structured
score           how important is a weight?             magnitude, gradient, taylor
ranking         against whom does it compete?          layer, global
schedule        when, and how sparse by then?          cubic, constant, one_shot
==============  =====================================  ========================================

Reading order: ``linear`` (the masked layer), ``pattern`` and ``n_m``, ``score``, ``ranking``,
``schedule``, ``pruner`` (puts them together), ``averaging``. The ``*_spec`` files read YAML.
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
