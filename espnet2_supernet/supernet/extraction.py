"""Extraction: one subnet becomes a plain dense network."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.subnet import Subnet


def extract_subnet(root: nn.Module, subnet: Subnet, forget: Sequence[object] = ()) -> nn.Module:
    """Copy the root and bake one subnet into the copy.

    Args:
        root: The network.
        subnet: The subnet; the masks of other subnets are dropped.
        forget: Objects that the copy has ``None`` for, besides its pruners.

    Returns:
        Network of the same classes, without masks, private norms or pruner.
    """
    pruners = [module for module in root.modules() if isinstance(module, Pruner)]
    # deepcopy takes what the memo holds instead of copying it.
    network = copy.deepcopy(root, {id(one): None for one in [*forget, *pruners]})
    for module in network.modules():
        if isinstance(module, MaskedLinear):
            _bake(module, subnet.mask_name)
        elif isinstance(module, SubnetLayerNorm):
            module.fold(subnet.name)
    return network


@torch.no_grad()
def _bake(layer: MaskedLinear, mask_name: str | None) -> None:
    layer.active_mask = mask_name if mask_name in layer.patterns else None
    layer.weight.copy_(layer.effective_weight())
    layer.remove_masks()
