"""One network, a table of named subnets, and the verbs on that table.

A subnet is a :class:`Context` (how far attention and convolution may look) and a mask (which
weights exist). Everything is an operation on the table: activate a row, sample rows to train,
prune a row, extract a row, count a row.

Reading order: ``context``, ``subnet``, ``supernet``, ``sampling``, ``norm``, ``extraction``;
``table`` and ``config`` read YAML.
"""

from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context, parse_contexts
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.subnet import Subnet
from espnet2_supernet.supernet.supernet import Supernet

__all__ = [
    "Context",
    "Subnet",
    "SubnetLayerNorm",
    "Supernet",
    "SupernetConfig",
    "parse_contexts",
]
