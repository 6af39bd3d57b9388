"""Depth: which layers of a stack a subnet runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError, check_keys

if TYPE_CHECKING:
    from espnet2_supernet.supernet.subnet import Subnet

KEEP = ("first", "last", "spread")
_PREFIX = "mask_"


def choose_layers(keep: str, wanted: int, available: int) -> tuple[int, ...]:
    """Choose some of the layers of a stack.

    Args:
        keep: ``first`` (once-for-all, early exit), ``last`` (EncRL, section 4.2.2), or
            ``spread``: every k-th so that the last one is among them.
        wanted: How many.
        available: Layers of the stack.

    Raises:
        ConfigError: If the rule is unknown, or there are too few layers.

    Example:
        >>> [choose_layers(keep, 3, 6) for keep in KEEP]
        [(0, 1, 2), (3, 4, 5), (1, 3, 5)]
    """
    if keep not in KEEP:
        raise ConfigError(f"unknown choice of layers '{keep}'; choose one of {', '.join(KEEP)}")
    if not 1 <= wanted <= available:
        raise ConfigError(f"{wanted} layers wanted of {available}")
    if keep == "first":
        return tuple(range(wanted))
    if keep == "last":
        return tuple(range(available - wanted, available))
    return tuple((i + 1) * available // wanted - 1 for i in range(wanted))


@dataclass(frozen=True)
class Depth:
    """Which layers a subnet runs.

    Attributes:
        layers: How many.
        keep: See :func:`choose_layers`.
    """

    layers: int
    keep: str = "first"

    def to_spec(self) -> Any:
        """Return what :func:`parse_depth` reads back."""
        return {"layers": self.layers, "keep": self.keep}


def parse_depth(spec: Any, where: str) -> Depth | None:
    """Read ``6`` or ``{layers: 6, keep: spread}``; nothing is the whole stack.

    Args:
        spec: The YAML entry, or ``None``.
        where: Its path, for error messages.

    Raises:
        ConfigError: If a key or a value is wrong.
    """
    if spec is None:
        return None
    given = spec if isinstance(spec, Mapping) else {"layers": spec}
    check_keys(given, ("layers", "keep"), where)
    layers, keep = given.get("layers"), given.get("keep", "first")
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
        raise ConfigError(f"{where}: a number of layers from 1, got {layers!r}")
    if keep not in KEEP:
        raise ConfigError(f"{where}.keep: choose one of {', '.join(KEEP)}, got {keep!r}")
    return Depth(layers, keep)


class LayerStack(nn.ModuleList):
    """Layers in a row, of which the active subnet may run only some.

    A layer that is not run is passed by. A layer whose ``droppable`` is False is not counted, and
    never left out. Which layers run is said by a depth, or by a mask that a pruner writes.

    Args:
        layers: The layers.
        keep_norm: Of a layer that is left out, its ``bypass_norm`` (a module, or None) still
            normalises, as in random layer dropping (LDASR, Hannan et al., EUSIPCO 2024).

    Attributes:
        depth: Of the active subnet; None runs all layers.
        active_mask: Name of the mask in use, or None for all layers.
        relaxed_masks: Masks that are not applied in training.

    Example:
        >>> stack = LayerStack([nn.Linear(1, 1) for _ in range(4)])
        >>> stack.depth = Depth(2, "spread")
        >>> [stack.index(layer) for layer in stack.running()]
        [1, 3]
    """

    depth: Depth | None = None
    active_mask: str | None = None

    def __init__(self, layers: Iterable[nn.Module], keep_norm: bool = False) -> None:
        super().__init__(layers)
        self.keep_norm = keep_norm
        self.relaxed_masks: set[str] = set()

    @property
    def counted(self) -> list[nn.Module]:
        """The layers that a depth counts."""
        return [layer for layer in self if getattr(layer, "droppable", True)]

    def index(self, layer: nn.Module) -> int:
        """Return the place of a layer."""
        return next(i for i, one in enumerate(self) if one is layer)

    def chosen(self, depth: Depth | None) -> list[Any]:
        """Return the layers that a depth runs, in order."""
        counted = self.counted
        if depth is None:
            return list(self)
        places = choose_layers(depth.keep, depth.layers, len(counted))
        left_out = {id(layer) for i, layer in enumerate(counted) if i not in places}
        return [layer for layer in self if id(layer) not in left_out]

    def add_mask(self, name: str) -> None:
        """Add a mask that keeps every counted layer, bool (N,)."""
        self.register_buffer(_PREFIX + name, torch.ones(len(self.counted), dtype=torch.bool))

    def has_mask(self, name: str | None) -> bool:
        """Whether there is a mask of that name."""
        return f"{_PREFIX}{name}" in self._buffers

    def mask(self, name: str) -> Tensor:
        """Return a mask by name, bool (N,) for the N counted layers, 1 = the layer runs."""
        return self.get_buffer(_PREFIX + name)

    def pruned(self) -> set[nn.Module]:
        """Return the layers that the active mask prunes."""
        name = self.active_mask
        if name is None or (self.training and name in self.relaxed_masks):
            return set()
        kept = self.mask(name).tolist()  # a GPU is waited for, once in each pass
        return {layer for layer, keep in zip(self.counted, kept, strict=True) if not keep}

    def partition(self) -> tuple[list[Any], set[nn.Module]]:
        """Return the layers of the active depth and mask, and those that the mask prunes."""
        pruned = self.pruned()
        return [layer for layer in self.chosen(self.depth) if layer not in pruned], pruned

    def running(self) -> list[Any]:
        """Return the layers of the active depth and mask."""
        return self.partition()[0]

    def bypass(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Pass a layer by with ``x (..., D)``."""
        norm = self.kept_norm(layer)
        return x if norm is None else norm(x)

    def remains(self, layer: nn.Module) -> nn.Module | None:
        """Return what is kept of a layer that is left out for good, or None."""
        return self.kept_norm(layer)

    def kept_norm(self, layer: nn.Module) -> nn.Module | None:
        """Return the norm that a layer that is left out leaves behind, or None."""
        return getattr(layer, "bypass_norm", None) if self.keep_norm else None

    def cut(self, keep: Tensor) -> None:
        """Keep some of the counted layers for good, bool (N,)."""
        kept = iter(keep.tolist())
        left = [one for one in self if not getattr(one, "droppable", True) or next(kept)]
        del self[:]
        self.extend(left)

    def fold(self, depth: Depth | None) -> None:
        """Keep the layers of one depth only, what remains of the others, and no mask."""
        chosen = self.chosen(depth)
        left = [layer if layer in chosen else self.remains(layer) for layer in self]
        del self[:]
        self.extend(layer for layer in left if layer is not None)
        for key in [key for key in self._buffers if key.startswith(_PREFIX)]:
            delattr(self, key)
        self.depth = self.active_mask = None


def left_out(stacks: Iterable[LayerStack], subnet: Subnet) -> set[nn.Module]:
    """Return every module that a subnet does not use because of its depth."""
    modules: set[nn.Module] = set()
    for stack in stacks:
        chosen = stack.chosen(subnet.depth)
        for layer in (layer for layer in stack if layer not in chosen):
            norm = stack.kept_norm(layer)
            kept = set() if norm is None else set(norm.modules())
            modules |= set(layer.modules()) - kept
    return modules


def check_depths(
    stacks: Sequence[LayerStack], subnets: Mapping[str, Subnet], by_layerdrop: Mapping[str, bool]
) -> None:
    """Check the depths of a table against the network.

    Args:
        stacks: The stacks of the network.
        subnets: The table.
        by_layerdrop: Subnets that only the dropping of layers trains, and whether layers are
            dropped.

    Raises:
        ConfigError: If a subnet is deeper than the network, or nothing trains it or a layer.
    """
    for name, drops in by_layerdrop.items():
        if subnets[name].depth is None or not drops:
            raise ConfigError(
                f"supernet_conf.sampling.by_layerdrop: '{name}' needs a depth, and "
                "encoder_conf.layerdrop above 0, or nothing trains it"
            )
    for name, subnet in subnets.items():
        where = f"supernet_conf.subnets.{name}.depth"
        if subnet.depth is not None and not stacks:
            raise ConfigError(f"{where}: this network has no layers to choose from")
        for stack in stacks:
            if subnet.depth is not None and subnet.depth.layers > len(stack.counted):
                raise ConfigError(
                    f"{where}: {subnet.depth.layers} layers wanted, the encoder has "
                    f"{len(stack.counted)}"
                )
    for stack in stacks:
        used = {id(layer) for one in subnets.values() for layer in stack.chosen(one.depth)}
        idle = [str(stack.index(layer)) for layer in stack if id(layer) not in used]
        if idle:
            raise ConfigError(
                f"supernet_conf.subnets: no subnet runs layer {', '.join(idle)} of the encoder, "
                "so nothing would train it: lower encoder_conf.num_blocks, or add a subnet "
                "without depth"
            )
