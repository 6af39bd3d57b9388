"""One network, a table of named subnets, and the verbs on that table.

A subnet is a :class:`Context` (how far attention and convolution may look), a mask (which weights
exist) and a depth (which layers run). Everything is an operation on the table: activate a row,
sample rows to train, prune a row, extract a row, count a row.

Reading order: ``context``, ``depth``, ``subnet``, ``supernet``, ``activation``, ``sampling``,
``joint``, ``sequential``, ``norm``, ``extraction``; ``table`` and ``config`` read YAML.

Example:
    >>> import torch
    >>> from espnet2_supernet.sparsity import MaskedLinear
    >>> net = torch.nn.Sequential(MaskedLinear(8, 4), SubnetLayerNorm(4))
    >>> config = SupernetConfig.parse({
    ...     "subnets": {
    ...         "server": {"context": "full"},
    ...         "device": {
    ...             "context": {"chunk_size": [16, 8], "left_context": 64},
    ...             "mask": {"pattern": {"block": [2, 1]}, "sparsity": 0.75},
    ...         },
    ...     },
    ...     "schedule": {"kind": "one_shot", "begin": 2},
    ... })
    >>> supernet = Supernet(net, config)
    >>> for subnet, context, weight in supernet.sample_subnets(step=0):
    ...     print(subnet.name, weight, context.describe(frame_ms=40))
    server 0.5 full context
    device 0.5 chunk 640 ms, left 2560 ms, right 0 ms
    >>> pruner = supernet.pruner()
    >>> pruner.step_once(), pruner.step_once()  # an attached optimiser does this
    (None, None)
    >>> pruner.sparsity_report()["device"]["0"]
    0.75
    >>> small = supernet.extract("device")
    >>> int(small[0].weight.count_nonzero()), supernet.counts("device")["prunable_nonzero"]
    (8, 8)
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
