"""Gradients of the weights as a subnet sees them, ``W * m``: also where the mask is 0."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import torch
from torch import distributed, nn

from espnet2_supernet.sparsity.linear import MaskedLinear

Layers = Mapping[str, Mapping[str, MaskedLinear]]


class EffectiveGradients(nn.Module):
    """Sums ``|dL/d(W * m)|`` over optimiser steps, for every mask by itself.

    The gradient that reaches ``W`` is zero where the mask is; that of ``W * m`` is not, and tells
    how much the loss would fall if a pruned weight moved away from zero. Layers gather it while
    they are watched, over all minibatches of a step. Then it is averaged over the ranks, as
    DistributedDataParallel averages gradients, before the absolute value is taken: so the masks do
    not depend on how a batch is shared out.

    The sums are float32 buffers, so a resumed run finds the same masks.

    Args:
        layers: By name of a mask its layers, by name. Those that need not apply the mask have no
            gradient of their own there and are left out.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self._layers = {
            name: {key: layer for key, layer in some.items() if name not in layer.unread_masks}
            for name, some in layers.items()
        }
        for name, key, layer in self._all():
            zeros = torch.zeros_like(layer.weight, dtype=torch.float, requires_grad=False)
            self.register_buffer(_key(name, key), zeros)

    def watch(self, on: bool) -> None:
        """Let the layers gather gradients from now on, or not."""
        for name, _, layer in self._all():
            (layer.watched_masks.add if on else layer.watched_masks.discard)(name)
            if not on:
                layer.effective_grads.pop(name, None)

    def train(self, mode: bool = True) -> EffectiveGradients:
        """Forget a step that was begun: an epoch starts from clean gradients."""
        for name, _, layer in self._all():
            layer.effective_grads.pop(name, None)
        return super().train(mode)

    @torch.no_grad()
    def add(self) -> None:
        """Add what was gathered since the last step; a step that overflowed is left out."""
        gathered = [layer.effective_grads.pop(name, None) for name, _, layer in self._all()]
        if all(one is None for one in gathered):
            return
        grads = [
            torch.zeros_like(self.get_buffer(_key(name, key))) if grad is None else grad
            for grad, (name, key, _) in zip(gathered, self._all(), strict=True)
        ]
        flat = mean_over_ranks(torch.cat([grad.flatten() for grad in grads]))
        if not bool(flat.isfinite().all()):
            logging.debug("gradients that are not finite do not count in which groups grow")
            return
        parts = flat.abs().split([grad.numel() for grad in grads])
        for (name, key, layer), part in zip(self._all(), parts, strict=True):
            self.get_buffer(_key(name, key)).add_(part.view_as(layer.weight))

    def of(self, name: str) -> GatheredGradients:
        """Return the sums of one mask."""
        return GatheredGradients(
            {key: self.get_buffer(_key(name, key)) for key in self._layers[name]}
        )

    def clear(self) -> None:
        """Start again from zero."""
        for name, key, _ in self._all():
            self.get_buffer(_key(name, key)).zero_()

    def _all(self) -> Iterator[tuple[str, str, MaskedLinear]]:
        for name, layers in self._layers.items():
            for key, layer in layers.items():
                yield name, key, layer


class GatheredGradients:
    """Sums by layer, to be read where :class:`GradientSums` are.

    Args:
        sums: By name of a layer (out, in).
    """

    def __init__(self, sums: Mapping[str, torch.Tensor]) -> None:
        self._sums = sums

    def get(self, name: str) -> torch.Tensor | None:
        """Return the sum of a layer (out, in), or ``None`` if it is not watched."""
        return self._sums.get(name)


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Average over all ranks, in place, as DistributedDataParallel does with gradients."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values


def _key(mask: str, layer_name: str) -> str:
    return f"sum_{mask}/" + layer_name.replace(".", "/")  # a buffer name has no dots
