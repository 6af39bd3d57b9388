"""Extraction: one subnet becomes a plain dense network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.supernet.depth import LayerStack
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.prunables import find_groups
from espnet2_supernet.supernet.subnet import Subnet


def extract_subnet(
    whole: nn.Module,
    root: nn.Module,
    subnet: Subnet,
    kept: Mapping[str, torch.Tensor],
    forget: Sequence[object] = (),
) -> nn.Module:
    """Copy a network and bake one subnet into the copy.

    Args:
        whole: What to copy: the root, or a model around it.
        root: The root of the supernet.
        subnet: The subnet; the masks of other subnets are dropped.
        kept: Kept units, bool (U,), by the name of their group below the root; the others are cut
            out.
        forget: Objects that the copy has ``None`` for, besides its pruners.

    Returns:
        Network of the same classes, without masks, private norms, pruner, or the layers that the
        subnet does not run, of which it may keep the norms.
    """
    pruners = [module for module in whole.modules() if isinstance(module, Pruner)]
    path = next(name for name, module in whole.named_modules() if module is root)
    # deepcopy takes what the memo holds instead of copying it.
    network = copy.deepcopy(whole, {id(one): None for one in [*forget, *pruners]})
    for module in network.modules():
        if isinstance(module, MaskedLinear):
            _bake(module, subnet.mask_name)
        elif isinstance(module, SubnetLayerNorm):
            module.fold(subnet.name)
    groups = find_groups(network.get_submodule(path)) if kept else {}
    for name, units in kept.items():
        groups[name].cut(units)
    for stack in [module for module in network.modules() if isinstance(module, LayerStack)]:
        stack.fold(subnet.depth)
    return network


@torch.no_grad()
def _bake(layer: MaskedLinear, mask_name: str | None) -> None:
    layer.active_mask = mask_name if mask_name in layer.patterns else None
    layer.weight.copy_(layer.effective_weight())
    bias = layer.effective_bias()
    if bias is not None:
        layer.bias.copy_(bias)
    layer.remove_masks()
