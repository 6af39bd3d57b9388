"""Joint training: what every model around a supernet encoder does in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.sampling import Draw
from espnet2_supernet.supernet.sequential import sequential_backward
from espnet2_supernet.supernet.supernet import Supernet


class JointTraining(nn.Module):
    """Base of a model whose loss is a weighted sum over the subnets of its encoder.

    Call :meth:`add_supernet` at the end of the constructor, :meth:`draw_subnets` once in each
    forward, and :meth:`sum_losses` with one function for each subnet drawn.

    Attributes:
        drops_frames: Whether the model can leave frames out, as ``tokens`` of a subnet says.
        has_heads: Whether it has output layers, as ``head`` of a subnet may want of its own.
        supernet_config: The table and its rules.
        supernet: The verbs on the encoder.
        pruner: Estimates the masks as training goes on; None if no subnet has one.
        num_batches: Batches seen in training, int64 scalar: seeds the draws, so that they are the
            same on all ranks and after resuming.
    """

    drops_frames = False
    has_heads = False
    supernet_config: SupernetConfig
    supernet: Supernet
    pruner: Pruner | None
    num_batches: Tensor

    def add_supernet(self, encoder: nn.Module, supernet_conf: Any) -> None:
        """Add masks, norms and pruner to a model that has all its other parts.

        Args:
            encoder: The root of the supernet.
            supernet_conf: The YAML block, see :class:`SupernetConfig`.

        Raises:
            ConfigError: If the block cannot be used.
        """
        self.supernet_config = SupernetConfig.parse(supernet_conf)
        for subnet in self.supernet_config.subnets.values():
            if subnet.tokens is not None and not self.drops_frames:
                raise ConfigError(
                    f"supernet_conf.subnets.{subnet.name}.tokens: this model is trained on all "
                    "frames; a recogniser (asr_train) can drop some"
                )
            if subnet.own_head and not self.has_heads:
                raise ConfigError(
                    f"supernet_conf.subnets.{subnet.name}.head: this model has no output layers; "
                    "a recogniser (asr_train) can have one for a subnet alone"
                )
        self.supernet = Supernet(encoder, self.supernet_config)
        self.pruner = self.supernet.pruner(self)
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def draw_subnets(self) -> list[Draw]:
        """Return (subnet, context, loss weight) of every subnet of this batch.

        In training as :meth:`Supernet.sample_subnets` draws them, through the blocks that
        :meth:`Supernet.draw_layers` leaves in; that advances ``num_batches``. Else all subnets,
        each in its default context.
        """
        if not self.training:
            weights = self.supernet_config.loss_weights
            subnets = self.supernet.subnets.values()
            return [(subnet, subnet.context, weights[subnet.name]) for subnet in subnets]
        step = int(self.num_batches)
        self.supernet.draw_layers(step)
        drawn = self.supernet.sample_subnets(step)
        self.num_batches += 1
        return drawn

    def sum_losses(
        self, passes: Sequence[Callable[..., Tensor]], shared: tuple[Tensor, ...]
    ) -> Tensor:
        """Return the sum of ``one(*shared)`` over the passes, a scalar.

        With ``sequential_backward`` only one graph is alive at a time; see there what has to be
        in ``shared``.
        """
        if self.training and self.supernet_config.sequential_backward:
            return sequential_backward(passes, shared, self.parameters())
        return torch.stack([one(*shared) for one in passes]).sum()
