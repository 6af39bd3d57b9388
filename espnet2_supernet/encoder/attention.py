"""Multi-head self-attention over a chunk, its left context and its right context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.dropout import dropout
from espnet2_supernet.encoder.rotary import rotary_tables, rotate
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.units import UnitPart, Units

MAX_SHORT_WINDOW = 256  # keys


class ChunkAttention(nn.Module):
    """Self-attention in which each chunk sees L earlier frames and its own S frames.

    Args:
        size: Model dimension D.
        heads: Number H of attention heads; D / H must be even.
        dropout_rate: Dropout of the attention weights.
        rotary: Rotate queries and keys by their positions; else nothing here tells positions.
        head_size: Size d of a head, even; by default D / H.

    Attributes:
        head_size: d.

    Raises:
        ConfigError: If the heads do not divide the dimension evenly, or a head has an odd size.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        dropout_rate: float = 0.0,
        rotary: bool = True,
        head_size: int | None = None,
    ) -> None:
        super().__init__()
        self.dropout_rate, self.rotary = dropout_rate, rotary
        self.head_size = head_size or _even_share(size, heads)
        if self.head_size % 2:
            raise ConfigError(
                f"encoder_conf.attention_head_size must be even, got {self.head_size}"
            )
        inner = heads * self.head_size
        self.linear_q = MaskedLinear(size, inner)
        self.linear_k = MaskedLinear(size, inner)
        self.linear_v = MaskedLinear(size, inner)
        self.linear_out = MaskedLinear(inner, size)

    @property
    def heads(self) -> int:
        """Number of heads H, also after some were cut off."""
        return self.linear_v.out_features // self.head_size

    def units(self) -> Units:
        """Heads: rows of the query, key and value projections, columns of the output's."""
        rows = [UnitPart(f"linear_{x}", "output", self.head_size) for x in "qkv"]
        columns = UnitPart("linear_out", "input", self.head_size)
        return Units("attention_heads", self.heads, (*rows, columns))

    def forward(
        self, x: Tensor, layout: ChunkLayout, past: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend.

        Args:
            x: Chunks ``(B, K, S, D)``.
            layout: Their geometry.
            past: Keys, rotated if they are to be, and values ``(B, H, L, d)`` of the L frames
                before the first chunk.

        Returns:
            Chunks ``(B, K, S, D)`` and the past of the next call.
        """
        batch, num_chunks, span, _ = x.shape
        query, key = self.linear_q(x), self.linear_k(x)
        scale = self.head_size**-0.5  # of the scores, with a rotation for nothing
        if self.rotary:
            cos, sin = rotary_tables(layout.positions(), self.heads, self.head_size)
            query = rotate(query, cos * scale, sin * scale, self.heads)
            key = rotate(key, cos, sin, self.heads)
        else:
            query = query * scale
        query, key = self._split_heads(query), self._split_heads(key)
        value = self._split_heads(self.linear_v(x))
        attn_mask = layout.key_mask()[:, None].expand(-1, self.heads, -1, -1)
        out = attend(
            query.flatten(0, 2),
            layout.keys(key, past[0]).flatten(0, 2),
            layout.keys(value, past[1]).flatten(0, 2),
            attn_mask.flatten(0, 2),
            self.dropout_rate if self.training else 0.0,
        )
        out = out.view(batch, self.heads, num_chunks, span, -1).permute(0, 2, 3, 1, 4)
        next_key = layout.last_frames(key, past[0])
        next_value = layout.last_frames(value, past[1])
        return self.linear_out(out.flatten(3)), (next_key, next_value)

    def _split_heads(self, x: Tensor) -> Tensor:
        """``(B, K, S, H * d)`` to ``(B, H, K, S, d)``."""
        return x.unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)


def _even_share(size: int, heads: int) -> int:
    """Size of a head when the heads share the model dimension."""
    if size % heads or (size // heads) % 2:
        raise ConfigError(
            f"encoder_conf: output_size {size} must be an even multiple of attention_heads {heads}"
        )
    return size // heads


def attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor, dropout_rate: float = 0.0
) -> Tensor:
    """Dot-product attention of many windows.

    On a CPU, short windows and those with dropout are multiplied out: torch's fused kernel took
    six times as long for short ones once oneDNN multiplies its small matrices
    (``--onednn_matmul``), and it holds all weights with dropout, too.

    Args:
        query: ``(N, T, d)``, one window and head each, scaled.
        key: ``(N, W, d)``.
        value: ``(N, W, d)``.
        attn_mask: ``(N, W)``, True = may attend.
        dropout_rate: Dropout of the attention weights.

    Returns:
        ``(N, T, d)``.
    """
    if query.device.type != "cpu" or (key.size(1) > MAX_SHORT_WINDOW and dropout_rate == 0):
        query, key, value = query[:, None], key[:, None], value[:, None]
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask[:, None, None], dropout_rate, scale=1.0
        )
        return out[:, 0]
    bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    scores = torch.baddbmm(bias[:, None], query, key.transpose(1, 2))
    return torch.bmm(dropout(scores.softmax(-1), dropout_rate), value)
