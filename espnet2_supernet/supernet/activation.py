"""Switching a network to one subnet, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.supernet.depth import LayerStack
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.subnet import Subnet


@contextmanager
def activated(
    linears: Sequence[MaskedLinear],
    norms: Sequence[SubnetLayerNorm],
    stacks: Sequence[LayerStack],
    subnet: Subnet,
) -> Iterator[None]:
    """Let the modules of a network compute as one subnet inside the ``with`` block.

    Args:
        linears: All prunable matrices.
        norms: All norms.
        stacks: All stacks of layers.
        subnet: The subnet.
    """
    masks_before = [layer.active_mask for layer in linears]
    norms_before = [(norm.active, norm.active_mask) for norm in norms]
    stacks_before = [(stack.depth, stack.active_mask) for stack in stacks]
    for layer in linears:
        layer.active_mask = subnet.mask_name if subnet.mask_name in layer.patterns else None
    for norm in norms:
        norm.active = subnet.name
        norm.active_mask = subnet.mask_name if norm.has_mask(subnet.mask_name) else None
    for stack in stacks:
        stack.depth = subnet.depth
        stack.active_mask = subnet.mask_name if stack.has_mask(subnet.mask_name) else None
    try:
        yield
    finally:
        for layer, mask in zip(linears, masks_before, strict=True):
            layer.active_mask = mask
        for norm, before in zip(norms, norms_before, strict=True):
            norm.active, norm.active_mask = before
        for stack, (depth, mask) in zip(stacks, stacks_before, strict=True):
            stack.depth, stack.active_mask = depth, mask
