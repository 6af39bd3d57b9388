"""The supernet: one network, a table of subnets, and the verbs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import CoupledUnits
from espnet2_supernet.sparsity.prunable import Cuttable, Prunable, PrunableLayer
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.supernet.activation import activated
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.depth import LayerStack, check_depths, left_out
from espnet2_supernet.supernet.extraction import extract_subnet
from espnet2_supernet.supernet.layer_drop import LayerDrop
from espnet2_supernet.supernet.layer_group import check_layer_masks
from espnet2_supernet.supernet.norm import SubnetLayerNorm
from espnet2_supernet.supernet.prunables import select_prunables
from espnet2_supernet.supernet.sampling import Draw
from espnet2_supernet.supernet.subnet import Subnet


class Supernet:
    """Makes a table of subnets out of one network.

    Every :class:`MaskedLinear` under the root that a mask declaration selects gets that mask,
    every :class:`SubnetLayerNorm` the norms of the table. The verbs are those of once-for-all
    (arXiv 1908.09791): activate a subnet, sample subnets, extract one.

    It is a plain object and not a module: the weights and masks are the root's, nothing here has
    to be saved or kept equal between processes. Build it before the optimiser, since it may add
    norms, and before loading a checkpoint.

    Args:
        root: The network.
        config: The table and its rules.

    Raises:
        ConfigError: If a mask selects no layer, a depth does not fit, or the root has a supernet
            already.

    Attributes:
        root: The network.
        config: The table and its rules.
        subnets: The table, by name.

    Example:
        >>> net = nn.Sequential(MaskedLinear(4, 4), SubnetLayerNorm(4))
        >>> mask = {"pattern": {"n_m": [2, 4]}}
        >>> table = {"server": {"context": "full"}, "device": {"mask": mask}}
        >>> supernet = Supernet(net, SupernetConfig.parse({"subnets": table}))
        >>> with supernet.active_subnet("device") as subnet:
        ...     subnet.name, net(torch.ones(1, 4)).shape
        ('device', torch.Size([1, 4]))
    """

    def __init__(self, root: nn.Module, config: SupernetConfig) -> None:
        """Add the masks and norms of the table to the root."""
        self.root = root
        self.config = config
        self.subnets: dict[str, Subnet] = config.subnets
        modules = dict(root.named_modules())
        self._linears = {k: m for k, m in modules.items() if isinstance(m, MaskedLinear)}
        self._norms = [m for m in modules.values() if isinstance(m, SubnetLayerNorm)]
        self._layer_drops = [m for m in modules.values() if isinstance(m, LayerDrop)]
        self._stacks = [m for m in modules.values() if isinstance(m, LayerStack)]
        drops = any(one.rate > 0 for one in self._layer_drops)
        check_depths(self._stacks, self.subnets, dict.fromkeys(config.sampling.by_layerdrop, drops))
        self._prunables = {name: self._select(name, spec) for name, spec in self.masks.items()}
        for name, prunables in self._prunables.items():
            for one in prunables:
                one.add_mask(name)
        if config.layer_norm == "per_subnet":
            unused = {name: left_out(self._stacks, row) for name, row in self.subnets.items()}
            for norm in self._norms:
                norm.add_subnets(name for name in self.subnets if norm not in unused[name])
        else:
            own = [name for name, row in self.subnets.items() if row.own_head]
            for norm in (norm for norm in self._norms if norm.precedes_head):
                norm.add_subnets([next(iter(self.subnets)), *own])

    @property
    def masks(self) -> dict[str, MaskSpec]:
        """The declarations of all masks, by mask name."""
        return {s.mask_name: s.mask for s in self.subnets.values() if s.mask_name and s.mask}

    def subnet(self, name: str) -> Subnet:
        """Look a row of the table up.

        Raises:
            ConfigError: If there is no such subnet, naming those there are.
        """
        if name not in self.subnets:
            raise ConfigError(f"no subnet '{name}'; this supernet has: {', '.join(self.subnets)}")
        return self.subnets[name]

    def unit_groups(self, mask_name: str | None) -> list[Cuttable]:
        """Return the units that a mask prunes; none if it prunes single matrices."""
        groups: list[Any] = self._prunables.get(mask_name or "", [])
        return [group for group in groups if not isinstance(group, PrunableLayer)]

    def _select(self, mask_name: str, spec: MaskSpec) -> list[Prunable]:
        users = [subnet for subnet in self.subnets.values() if subnet.mask_name == mask_name]
        unused = set.intersection(*(left_out(self._stacks, subnet) for subnet in users))
        if isinstance(spec.pattern, CoupledUnits):
            check_layer_masks(mask_name, spec.pattern, self._stacks, users)
        return select_prunables(self.root, mask_name, spec, unused)

    @contextmanager
    def active_subnet(self, name: str) -> Iterator[Subnet]:
        """Compute as one subnet inside the ``with`` block, and as before after it.

        The network is switched, not the tensors it made: a function that backward runs again
        (activation checkpointing) has to enter the block itself.

        Args:
            name: Name of the subnet.

        Yields:
            The subnet.

        Raises:
            ConfigError: If there is no such subnet.
        """
        subnet = self.subnet(name)
        linears = list(self._linears.values())
        with activated(linears, self._norms, self._stacks, subnet):
            yield subnet

    def sample_subnets(self, step: int) -> list[Draw]:
        """Draw what to train in a step; see :meth:`Sampling.draw`.

        Args:
            step: Number of the training step.

        Returns:
            (subnet, context, loss weight) of every subnet to train.
        """
        return self.config.sampling.draw(self.subnets, self.config.loss_weights, step)

    def draw_layers(self, step: int) -> None:
        """Draw the layers that a training step leaves out; see :class:`LayerDrop`.

        Args:
            step: Number of the training step.
        """
        for number, layers in enumerate(self._layer_drops):
            layers.draw(f"layers-{self.config.sampling.seed}-{number}-{step}")

    def num_layers(self, name: str) -> int:
        """Return how many layers a subnet runs.

        Raises:
            ConfigError: If there is no such subnet.
        """
        subnet = self.subnet(name)
        if subnet.depth is not None:
            return subnet.depth.layers
        mask = subnet.mask_name or ""
        masked = [int(stack.mask(mask).sum()) for stack in self._stacks if stack.has_mask(mask)]
        whole = [len(stack.counted) for stack in self._stacks if not stack.has_mask(mask)]
        return sum(masked + whole)

    def pruner(self, network: nn.Module | None = None) -> Pruner | None:
        """Make the pruner of all masks, to be registered in the model; ``None`` without masks.

        Args:
            network: What sparsity over all weights refers to: the root, or a model around it.
        """
        if not self.masks:
            return None
        masks = {name: (spec, self._prunables[name]) for name, spec in self.masks.items()}
        total = self.counts(next(iter(self.subnets)), network)["parameters"]
        return Pruner(masks, self.config.schedule, total, self.root if network is None else network)

    def extract(self, name: str, network: nn.Module | None = None) -> nn.Module:
        """Return one subnet as a plain dense network of its own.

        Args:
            name: Name of the subnet.
            network: What to copy: the root, or a model around it.

        Returns:
            Copy with ``weight * mask`` as weight, the subnet's own norms as the only ones, and
            no masks; units that a structured mask prunes are cut out, so that it is smaller. A
            supernet or a pruner that the network refers to is ``None`` in the copy.

        Raises:
            ConfigError: If there is no such subnet.
        """
        whole = self.root if network is None else network
        subnet = self.subnet(name)
        kept = {g.name: g.kept(subnet.mask_name or "") for g in self.unit_groups(subnet.mask_name)}
        return extract_subnet(whole, self.root, subnet, kept, forget=[self])

    def counts(self, name: str, network: nn.Module | None = None) -> dict[str, int]:
        """Count the weights of one subnet.

        Args:
            name: Name of the subnet.
            network: What to count: the root, or a model around it.

        Returns:
            ``parameters`` of the subnet, ``nonzero`` of them, ``prunable`` weights (those under
            its mask; for a dense subnet those under any mask, or that could be under one), and
            ``prunable_nonzero``. Weights that are not prunable count as non-zero: their place
            remains whatever their value; but not those that go with pruned units, so ``nonzero``
            is the size of a subnet whose units were cut out.

        Raises:
            ConfigError: If there is no such subnet.
        """
        subnet = self.subnet(name)
        masks = [subnet.mask_name] if subnet.mask_name else list(self.masks)
        out = left_out(self._stacks, subnet)
        layers = [m for m in self._linears.values() if not masks or m.patterns.keys() & masks]
        layers = [layer for layer in layers if layer not in out]
        prunable = sum(layer.weight.numel() for layer in layers)
        with self.active_subnet(name), torch.no_grad():
            nonzero = sum(int(layer.effective_weight().count_nonzero()) for layer in layers)
        unused = sum(norm.unused_parameters() for norm in self._norms if norm not in out)
        unused += sum(p.numel() for module in out for p in module.parameters(recurse=False))
        whole = self.root if network is None else network
        parameters = sum(p.numel() for p in whole.parameters()) - unused
        mask_name = subnet.mask_name or ""
        groups = [g for g in self.unit_groups(mask_name) if out.isdisjoint(g.layers.values())]
        besides = sum(group.pruned_besides(mask_name) for group in groups)
        return {
            "parameters": parameters,
            "nonzero": parameters - prunable + nonzero - besides,
            "prunable": prunable,
            "prunable_nonzero": nonzero,
        }
