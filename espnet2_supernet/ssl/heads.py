"""What pre-training needs besides the encoder, and fine-tuning does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.ssl.plan import Plan
from espnet2_supernet.ssl.quantizer import GumbelQuantizer, Quantized


class Wav2Vec2Heads(nn.Module):
    """Mask embedding, quantiser and the two projections, shared by all subnets.

    Args:
        size: Model dimension D of the encoder.
        final_dim: Dimension F in which context and target are compared.
        quantizer: Quantises latents of dimension L.
        dropout_features: Dropout of the quantiser's input.
        norm: What normalises it.

    Raises:
        ConfigError: If a value is out of range.
    """

    def __init__(
        self,
        size: int,
        final_dim: int,
        quantizer: GumbelQuantizer,
        dropout_features: float,
        norm: nn.Module,
    ) -> None:
        super().__init__()
        if final_dim < 1 or not 0 <= dropout_features < 1:
            raise ConfigError(
                "model_conf: final_dim must be at least 1 and dropout_features in [0, 1), got "
                f"{final_dim} and {dropout_features}"
            )
        self.mask_emb = nn.Parameter(torch.rand(size))
        self.norm = norm
        self.dropout = nn.Dropout(dropout_features)
        self.quantizer = quantizer
        self.project_q = nn.Linear(quantizer.codebooks.size(2) * quantizer.latent_groups, final_dim)
        self.final_proj = nn.Linear(size, final_dim)

    def mask(self, frames: Tensor, plan: Plan) -> Tensor:
        """Replace the masked frames of ``(V * B, T, D)`` by the embedding; a new tensor."""
        masked = plan.mask.repeat(len(frames) // max(len(plan.mask), 1), 1)
        return torch.where(masked[..., None], self.mask_emb.to(frames.dtype), frames)

    def targets(self, latents: Tensor, plan: Plan) -> tuple[Quantized, Tensor]:
        """Quantise the masked frames.

        Args:
            latents: Frames before masking ``(B, T, L)``.
            plan: Which of them are masked, and their noise in training.

        Returns:
            What the quantiser chose, and the projected vectors ``(N, F)``.
        """
        noise = None
        if self.training:
            noise = plan.exponential(self.quantizer.latent_groups, self.quantizer.latent_vars)
        quantized = self.quantizer(self.dropout(self.norm(latents[plan.mask])), noise)
        return quantized, self.project_q(quantized.vectors)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return ``x``; its gradient is multiplied by the factor (fairseq's ``GradMultiply``)."""
    return x if factor == 1 else x * factor + x.detach() * (1 - factor)
