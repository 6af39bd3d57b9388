"""Which units of a network a mask prunes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.prunable import Cuttable
from espnet2_supernet.sparsity.unit_group import UnitGroup


def find_units(root: nn.Module) -> dict[str, UnitGroup]:
    """Find every declaration of units in a network, by the name of the group."""
    declared: list[tuple[str, Any]] = [
        (path, module)
        for path, module in root.named_modules()
        if callable(getattr(type(module), "units", None))
    ]
    groups = [UnitGroup(path, module, one) for path, module in declared for one in module.units()]
    return {group.name: group for group in groups}


def select_units(groups: Mapping[str, Cuttable], kinds: Mapping[str, int]) -> list[Cuttable]:
    """Choose the groups of some kinds.

    Args:
        groups: What can be cut out, by name, as :func:`find_units` finds it; their ``min_kept`` is
            set.
        kinds: Kind to the number of units that every group keeps in any case.

    Raises:
        ConfigError: If the network has no units of a kind, or fewer than are to be kept, or two
            kinds lie in the same matrices.
    """
    for kind, least in kinds.items():
        there = [group for group in groups.values() if group.kind == kind]
        if not there:
            known = sorted({group.kind for group in groups.values()})
            raise ConfigError(
                f"pattern structured: the network has no {kind}; it has: "
                f"{', '.join(known) or 'no units'}"
            )
        for group in there:
            if group.count < least:
                raise ConfigError(
                    f"pattern structured: {group.name} has {group.count} {kind}, "
                    f"min_kept is {least}"
                )
            group.min_kept = least
    selected = [group for group in groups.values() if group.kind in kinds]
    _check_apart(selected)
    return selected


def _check_apart(groups: Sequence[Cuttable]) -> None:
    """Refuse groups that share a matrix: each would write its mask over the other's."""
    owners: dict[str, Cuttable] = {}
    for group in groups:
        for name in group.layers:
            other = owners.setdefault(name, group)
            if other is not group:
                raise ConfigError(
                    f"pattern structured: {other.kind} and {group.kind} both prune {name}, which "
                    "one mask cannot tell apart; prune one kind, extract the subnet, and prune "
                    "the other kind of the smaller encoder"
                )
