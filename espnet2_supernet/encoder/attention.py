"""Multi-head self-attention over a chunk, its left context and its right context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.rotary import rotary_tables, rotate
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear

MAX_SHORT_WINDOW = 256  # keys


class ChunkAttention(nn.Module):
    """Self-attention in which each chunk sees L earlier frames and its own S frames.

    Args:
        size: Model dimension D.
        heads: Number of attention heads; D / heads must be even.
        dropout_rate: Dropout of the attention weights.

    Raises:
        ConfigError: If the heads do not divide the dimension evenly.
    """

    def __init__(self, size: int, heads: int, dropout_rate: float = 0.0) -> None:
        super().__init__()
        if size % heads or (size // heads) % 2:
            raise ConfigError(
                f"encoder_conf: output_size {size} must be an even multiple of "
                f"attention_heads {heads}"
            )
        self.heads, self.dropout_rate = heads, dropout_rate
        self.linear_q = MaskedLinear(size, size)
        self.linear_k = MaskedLinear(size, size)
        self.linear_v = MaskedLinear(size, size)
        self.linear_out = MaskedLinear(size, size)

    def forward(
        self, x: Tensor, layout: ChunkLayout, past: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend.

        Args:
            x: Chunks ``(B, K, S, D)``.
            layout: Their geometry.
            past: Keys and values ``(B, L, D)`` of the L frames before the first chunk.

        Returns:
            Chunks ``(B, K, S, D)`` and the past of the next call.
        """
        query, key, value = self.linear_q(x), self.linear_k(x), self.linear_v(x)
        left_key, next_key = layout.left_windows(key, past[0])
        left_value, next_value = layout.left_windows(value, past[1])
        key, value = torch.cat([left_key, key], dim=2), torch.cat([left_value, value], dim=2)
        out = self._attend(query, key, value, layout.key_mask())
        return self.linear_out(out), (next_key, next_value)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor) -> Tensor:
        batch, num_chunks, span, size = query.shape
        window = key.size(2)

        def split_heads(x: Tensor) -> Tensor:  # (B, K, T, D) -> (B * K, H, T, D / H)
            return x.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)

        cos, sin = rotary_tables(window, size // self.heads, query)
        out = attend(
            rotate(split_heads(query), cos[window - span :], sin[window - span :]),
            rotate(split_heads(key), cos, sin),
            split_heads(value),
            attn_mask.flatten(0, 1)[:, None, None],
            self.dropout_rate if self.training else 0.0,
        )
        return out.transpose(1, 2).reshape(batch, num_chunks, span, size)


def attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor, dropout_rate: float = 0.0
) -> Tensor:
    """Scaled dot-product attention.

    Short windows on a CPU are multiplied out: torch's fused kernel took six times as long there
    once oneDNN multiplies its small matrices (``--onednn_matmul``).

    Args:
        query: ``(N, H, T, d)``.
        key: ``(N, H, W, d)``.
        value: ``(N, H, W, d)``.
        attn_mask: ``(N, 1, 1, W)``, True = may attend.
        dropout_rate: Dropout of the attention weights.

    Returns:
        ``(N, H, T, d)``.
    """
    if query.device.type != "cpu" or key.size(2) > MAX_SHORT_WINDOW:
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_rate)
    batch, heads, length, dim = query.shape
    bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    scores = torch.baddbmm(
        bias.expand(-1, heads, length, -1).flatten(0, 1),
        query.flatten(0, 1),
        key.flatten(0, 1).transpose(1, 2),
        alpha=dim**-0.5,
    )
    weights = F.dropout(scores.softmax(-1), dropout_rate, dropout_rate > 0)
    return torch.bmm(weights, value.flatten(0, 1)).unflatten(0, (batch, heads))
