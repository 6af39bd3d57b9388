"""Weight rewinding: each round of iterative pruning trains from the same weights."""

from __future__ import annotations

import torch
from torch import nn

from espnet2_supernet.errors import ConfigError


class Rewinding(nn.Module):
    """Remembers all weights of a network, and writes them back after a mask was chosen.

    Iterative magnitude pruning with rewinding (Frankle et al., arXiv 1903.01611): masks are chosen
    by trained weights, then weights and moments of the optimiser go back to an early step. The
    learning rate is not rewound (our choice: it follows the one schedule of the training).

    The weights are in buffers, so that a checkpoint resumes exactly; it is larger by one model.

    Args:
        network: Its parameters are rewound; it does not become a submodule.

    Raises:
        ConfigError: If there is none.
    """

    def __init__(self, network: nn.Module | None) -> None:
        super().__init__()
        if network is None:
            raise ConfigError("schedule: rewind: true needs the network whose weights to rewind")
        self._weights = dict(network.named_parameters())
        for name, weight in self._weights.items():
            self.register_buffer(_key(name), weight.detach().clone())

    @torch.no_grad()
    def update(self, first: bool, optimizer: torch.optim.Optimizer | None) -> None:
        """Remember the present weights, or go back to those remembered, in place.

        Args:
            first: Whether this is the first update of the masks.
            optimizer: Its state of rewound weights starts from zero, as in a new training.
        """
        for name, weight in self._weights.items():
            start = self.get_buffer(_key(name))
            if first:
                start.copy_(weight)
                continue
            weight.copy_(start)
            for value in optimizer.state[weight].values() if optimizer is not None else ():
                if torch.is_tensor(value):
                    value.zero_()


def _key(name: str) -> str:
    return "start_" + name.replace(".", "/")  # a buffer name has no dots
