"""LayerDrop: a training step leaves whole layers out, the same ones for every subnet."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError


class LayerDrop(nn.Module):
    """Says which layers of a stack a training step leaves out (Fan et al., arXiv 1909.11556).

    Each layer is left out with the same probability, whatever happens to the others, and nothing
    is scaled. The draw depends on a seed alone: made from the number of the step, it is the same
    for all subnets, on all ranks and after resuming. In evaluation all layers are there.

    Args:
        rate: Probability from 0 to below 1; ``layerdrop`` in wav2vec 2.0.
        droppable: For each layer, whether it may be left out.

    Raises:
        ConfigError: If the rate is out of range.

    Example:
        >>> layers = LayerDrop(0.5, [False, True, True])
        >>> layers.draw("step-1")
        >>> [layers.leaves_out(number) for number in range(3)]
        [False, False, True]
    """

    def __init__(self, rate: float, droppable: Sequence[bool]) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(f"layerdrop lies in [0, 1), got {rate}")
        self.rate = rate
        self.droppable = tuple(droppable)
        self._left_out: frozenset[int] = frozenset()

    def draw(self, seed: str) -> None:
        """Draw the layers to leave out until the next draw."""
        generator = random.Random(seed)
        draws = [generator.random() for _ in self.droppable]
        self._left_out = frozenset(
            number
            for number, (drawn, may) in enumerate(zip(draws, self.droppable, strict=True))
            if may and drawn < self.rate
        )

    def leaves_out(self, number: int) -> bool:
        """Whether a layer does not take part: never in evaluation, or before the first draw."""
        return self.training and number in self._left_out

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


def zero_gradients(x: Tensor, layer: nn.Module) -> Tensor:
    """Return ``x`` (any shape) as it is; backward gives every parameter of the layer a zero.

    DistributedDataParallel waits for a gradient of each parameter.
    """
    if not torch.is_grad_enabled():
        return x
    sums = [p.sum() for p in layer.parameters() if p.requires_grad]
    return x + 0.0 * torch.stack(sums).sum() if sums else x
