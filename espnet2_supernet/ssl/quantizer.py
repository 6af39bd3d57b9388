"""Gumbel vector quantisation with a product of codebooks (wav2vec 2.0, section 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from espnet2_supernet.errors import ConfigError


@dataclass(frozen=True)
class Quantized:
    """Result of the quantisation of N frames.

    Attributes:
        vectors: Chosen entries, concatenated over codebooks ``(N, latent_dim)``.
        codes: Index of the entry in each codebook ``(N, G)``.
        probs: Probabilities of the entries without noise and temperature ``(N, G, V)``.
    """

    vectors: Tensor
    codes: Tensor
    probs: Tensor


class GumbelQuantizer(nn.Module):
    """Chooses one entry from each of G codebooks; the gradient passes straight through.

    In training the choice is a sample: the largest logit after adding Gumbel noise. Backward is
    that of the softmax of the same sum at the temperature, which falls from ``latent_temp[0]`` by
    the factor ``latent_temp[2]`` with every update until it is ``latent_temp[1]``. Without noise
    the largest logit wins. Names and initial values are fairseq's.

    Args:
        input_size: Dimension D of the frames.
        latent_vars: Entries V of each codebook.
        latent_groups: Codebooks G.
        latent_dim: Dimension of a quantised vector, a multiple of G.
        latent_temp: First temperature, last temperature, decay per update.

    Attributes:
        num_updates: Optimiser steps so far, int64 scalar, the temperature's only state.

    Raises:
        ConfigError: If a value is out of range.
    """

    num_updates: Tensor

    def __init__(
        self,
        input_size: int,
        latent_vars: int = 320,
        latent_groups: int = 2,
        latent_dim: int = 256,
        latent_temp: Sequence[float] = (2.0, 0.5, 0.999995),
    ) -> None:
        super().__init__()
        if latent_vars < 2 or latent_groups < 1:
            raise ConfigError(
                "model_conf: latent_vars must be at least 2 and latent_groups 1, got "
                f"{latent_vars} and {latent_groups}"
            )
        if latent_dim < 1 or latent_dim % latent_groups:
            raise ConfigError(
                f"model_conf.latent_dim: a multiple of latent_groups {latent_groups}, "
                f"got {latent_dim}"
            )
        self.latent_vars, self.latent_groups = latent_vars, latent_groups
        self.latent_temp = _checked_temperatures(latent_temp)
        self.weight_proj = nn.Linear(input_size, latent_groups * latent_vars)
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)
        entries = torch.rand(latent_groups, latent_vars, latent_dim // latent_groups)
        self.codebooks = nn.Parameter(entries)
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
        self._hook: Any = None

    @property
    def temperature(self) -> Tensor:
        """Present temperature, a scalar on the device of the weights."""
        first, last, decay = self.latent_temp
        # The logarithm is taken in float64 here: some devices have no type as exact.
        exponent = self.num_updates.float() * math.log(decay)
        return (first * exponent.exp()).clamp(min=last)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Count each real step of the optimiser from now on; attach again after resuming."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = optimizer.register_step_post_hook(self._after_step)

    def forward(self, frames: Tensor, exponential: Tensor | None = None) -> Quantized:
        """Quantise frames; in float32, whatever the autocast.

        Args:
            frames: ``(N, D)``.
            exponential: Exponential noise ``(N, G, V)``; its negative logarithm is Gumbel noise.
                None chooses the most probable entries.
        """
        with torch.autocast(frames.device.type, enabled=False):
            shape = (-1, self.latent_groups, self.latent_vars)
            logits = self.weight_proj(frames.float()).view(shape)
            noisy = logits if exponential is None else logits - exponential.log()
            codes = noisy.argmax(dim=-1)
            chosen = functional.one_hot(codes, self.latent_vars).to(logits.dtype)
            if exponential is not None:
                soft = (noisy / self.temperature).softmax(dim=-1)
                chosen = chosen - soft.detach() + soft
            vectors = torch.einsum("ngv,gvd->ngd", chosen, self.codebooks.float())
            return Quantized(vectors.flatten(1), codes, logits.softmax(dim=-1))

    def code_ids(self, codes: Tensor) -> Tensor:
        """Number the combinations of codes ``(N, G)``: one integer for each frame ``(N,)``."""
        powers = self.latent_vars ** torch.arange(self.latent_groups, device=codes.device)
        return (codes * powers).sum(dim=-1)

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # A fused optimiser is called in any case; the gradient scaler tells it to do nothing.
        if not bool(getattr(optimizer, "found_inf", False)):
            self.num_updates += 1

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hook behind: it belongs to an optimiser that is not copied."""
        return {**self.__dict__, "_hook": None}


def _checked_temperatures(given: Sequence[float]) -> tuple[float, float, float]:
    """Return first, last and decay.

    Raises:
        ConfigError: If they are not three numbers, or would rise.
    """
    if len(given) != 3:
        raise ConfigError(f"model_conf.latent_temp: write [first, last, decay], got {given}")
    first, last, decay = map(float, given)
    if not 0 < last <= first or not 0 < decay <= 1:
        raise ConfigError(
            f"model_conf.latent_temp: needs 0 < last <= first and 0 < decay <= 1, got {given}"
        )
    return first, last, decay
