"""Running sums of gradients, for scores that need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from espnet2_supernet.sparsity.linear import MaskedLinear


class Gradients(Protocol):
    """Summed ``|gradient|`` by layer."""

    def get(self, name: str) -> torch.Tensor | None:
        """Return the sum of a layer (out, in), or ``None`` if it is not watched."""
        ...


class GradientSums(nn.Module):
    """Sums ``|gradient|`` of every weight from one mask update to the next.

    The sums are float32 buffers, one per layer: they are saved, so that a resumed run finds the
    same masks. The layers are not submodules.

    Args:
        layers: The layers to watch, by name; with none, nothing is stored.
    """

    def __init__(self, layers: Mapping[str, MaskedLinear]) -> None:
        """Start with zeros."""
        super().__init__()
        self._layers = dict(layers)
        for name, layer in layers.items():
            zeros = torch.zeros_like(layer.weight, dtype=torch.float, requires_grad=False)
            self.register_buffer(_key(name), zeros)

    def get(self, name: str) -> torch.Tensor | None:
        """Return the sum of a layer (out, in), or ``None`` if it is not watched."""
        return self._buffers.get(_key(name))

    @torch.no_grad()
    def add(self) -> None:
        """Add the present gradients."""
        for name, layer in self._layers.items():
            if layer.weight.grad is not None:
                self.get_buffer(_key(name)).add_(layer.weight.grad.abs())

    def clear(self) -> None:
        """Start again from zero."""
        for name in self._layers:
            self.get_buffer(_key(name)).zero_()


def _key(layer_name: str) -> str:
    return "sum_" + layer_name.replace(".", "/")  # a buffer name has no dots
