"""What the masks of a supernet are written to."""

from __future__ import annotations

from collections.abc import Container, Mapping

from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import CoupledUnits
from espnet2_supernet.sparsity.prunable import Cuttable, Prunable, PrunableLayer
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.sparsity.unit_selection import find_units, select_units
from espnet2_supernet.supernet.layer_group import find_layers


def find_groups(root: nn.Module) -> dict[str, Cuttable]:
    """Find everything that can be cut out of a network, by name: units and whole layers."""
    return {**find_units(root), **find_layers(root)}


def select_prunables(
    root: nn.Module, mask_name: str, spec: MaskSpec, unused: Container[nn.Module]
) -> list[Prunable]:
    """Choose what a mask is written to.

    Args:
        root: The network.
        mask_name: Name of the mask, for messages.
        spec: Its declaration.
        unused: Modules that no subnet with this mask uses.

    Raises:
        ConfigError: If it selects nothing.
    """
    where: Mapping[str, object]
    selected: list[Prunable]
    if isinstance(spec.pattern, CoupledUnits):
        found = find_groups(root).items()
        groups = {k: g for k, g in found if not any(m in unused for m in g.layers.values())}
        where, chosen = groups, {name: g for name, g in groups.items() if spec.selects(name)}
        selected = [*select_units(chosen, dict(spec.pattern.kinds))]
    else:
        modules = root.named_modules()
        linears = {k: m for k, m in modules if isinstance(m, MaskedLinear) and m not in unused}
        where, pattern = linears, spec.pattern
        selected = [PrunableLayer(k, m, pattern) for k, m in linears.items() if spec.selects(k)]
    if not selected:
        raise ConfigError(
            f"mask '{mask_name}' selects none of the {len(where)} prunable layers: "
            f"include {list(spec.include)}, exclude {list(spec.exclude)}"
        )
    return selected
