"""Units: what can be cut out of several matrices at once, so that a smaller network remains.

A hidden unit of two linear layers is a row of the first and a column of the second. Both go
together: without the column nobody reads the row. A network says where its units are by a method
``units()`` of the module that holds them, which returns :class:`Units` of one or several kinds;
everything else is done here and in ``unit_group``. A module that remembers sizes of its own has a
method ``units_cut(kind, keep)``, too: it is told which units (U,) were kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class UnitPart:
    """Where the units of one declaration lie in one module.

    Attributes:
        module: Path of the module below the one that declares.
        axis: ``output`` (rows of weight and bias, kernels, entries of a norm) or ``input``
            (columns of a weight: the part that reads the units).
        size: Consecutive entries of one unit, such as the size of an attention head.
        copies: How often the units are listed along the axis; 2 for a gated linear unit.
        reads: Whether zeros here leave the unit without effect. Columns always read; rows may, if
            what they make is multiplied by what the other parts make.
    """

    module: str
    axis: str
    size: int = 1
    copies: int = 1
    reads: bool = False

    @property
    def decides(self) -> bool:
        """Whether the network computes without the unit where this part is zero."""
        return self.reads or self.axis == "input"

    def expand(self, keep: torch.Tensor) -> torch.Tensor:
        """Turn kept units, bool (U,), into kept entries of the axis, bool (copies * U * size,).

        Example:
            >>> UnitPart("fc", "output", size=2, copies=2).expand(torch.tensor([1, 0])).tolist()
            [1, 1, 0, 0, 1, 1, 0, 0]
        """
        return keep.repeat_interleave(self.size).repeat(self.copies)

    def sum_units(self, entries: torch.Tensor) -> torch.Tensor:
        """Add up the entries (copies * U * size,) of each unit: (U,)."""
        return entries.unflatten(0, (self.copies, -1, self.size)).sum((0, 2))


@dataclass(frozen=True)
class Units:
    """The declaration of a module: units of one kind and all the parts that they have.

    Attributes:
        kind: Name of the kind.
        count: Number U of units.
        parts: Where they lie; at least one of them reads.
    """

    kind: str
    count: int
    parts: tuple[UnitPart, ...]


@torch.no_grad()
def cut(module: nn.Module, axis: str, keep: torch.Tensor) -> None:
    """Keep some entries of a module's parameters and drop the others, in place.

    Args:
        module: Linear layer, depthwise convolution or layer norm, without masks.
        axis: ``output`` or ``input``; see :class:`UnitPart`.
        keep: Kept entries, bool, as long as the axis.

    Raises:
        TypeError: If the module is of no known kind.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> cut(layer, "input", torch.tensor([True, False, True]))
        >>> layer
        Linear(in_features=2, out_features=2, bias=True)
    """
    index = keep.nonzero()[:, 0]
    dim = 0 if axis == "output" else 1
    for name, parameter in list(module.named_parameters(recurse=False)):
        if dim < parameter.ndim:
            kept = parameter.detach().index_select(dim, index.to(parameter.device))
            setattr(module, name, nn.Parameter(kept, requires_grad=parameter.requires_grad))
    _set_sizes(module, axis, len(index))


def _set_sizes(module: Any, axis: str, size: int) -> None:
    if isinstance(module, nn.Linear):
        setattr(module, "out_features" if axis == "output" else "in_features", size)
    elif isinstance(module, nn.Conv1d) and module.groups == module.out_channels:
        module.in_channels = module.out_channels = module.groups = size
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = (size,)
    else:
        raise TypeError(f"units cannot be cut out of {type(module).__name__}")
