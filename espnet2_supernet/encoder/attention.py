"""Multi-head self-attention over a chunk, its left context and its right context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.dropout import dropout
from espnet2_supernet.encoder.rotary import rotate
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.units import UnitPart, Units

MAX_SHORT_WINDOW = 256  # keys


@dataclass(frozen=True)
class HeadSizes:
    """Sizes of an attention head.

    Attributes:
        size: Size d before dimensions were cut out, even, which the scale of the scores and the
            rotary angles refer to; None = model dimension by number of heads.
        key: Dimensions d_k of its queries and keys, with a rotation even; None = d.
        value: Dimensions d_v of its values; None = d.
    """

    size: int | None = None
    key: int | None = None
    value: int | None = None


class ChunkAttention(nn.Module):
    """Self-attention in which each chunk sees L earlier frames and its own S frames.

    Dimensions can be cut out of the heads. The heads of a layer stay of equal size: a dimension
    goes from all of them at once, so that they remain one product of matrices (our choice). The
    scale of the scores stays that of the whole head, and rotary pairs keep their angles.

    Args:
        size: Model dimension D.
        heads: Number H of attention heads; D / H must be even.
        dropout_rate: Dropout of the attention weights.
        rotary: Rotate queries and keys by their positions; else nothing here tells positions.
        head_size: Sizes of a head; by default those of a whole one, D / H.

    Attributes:
        heads: H, also after some were cut off.
        head_size: Size d of a whole head.
        key_size: d_k.
        value_size: d_v.
        rotary_pairs: Which of its d / 2 rotary pairs a head still has, int64 (d_k / 2,); None if
            all. Part of the state, as the weights of these pairs are.

    Raises:
        ConfigError: If the heads do not divide the dimension evenly, or a head has an odd size.
    """

    rotary_pairs: Tensor | None

    def __init__(
        self,
        size: int,
        heads: int,
        dropout_rate: float = 0.0,
        rotary: bool = True,
        head_size: HeadSizes | None = None,
    ) -> None:
        super().__init__()
        self.dropout_rate, self.rotary, self.heads = dropout_rate, rotary, heads
        sizes = head_size or HeadSizes()
        self.head_size = sizes.size or _even_share(size, heads)
        self.key_size = sizes.key or self.head_size
        self.value_size = sizes.value or self.head_size
        _check_sizes(self.head_size, self.key_size, rotary)
        self.linear_q = MaskedLinear(size, heads * self.key_size)
        self.linear_k = MaskedLinear(size, heads * self.key_size)
        self.linear_v = MaskedLinear(size, heads * self.value_size)
        self.linear_out = MaskedLinear(heads * self.value_size, size)
        is_cut = rotary and self.key_size < self.head_size
        self.register_buffer("rotary_pairs", self._pairs() if is_cut else None)

    def units(self) -> tuple[Units, ...]:
        """Heads, dimensions of their queries and keys, and dimensions of their values.

        A head has rows of the query, key and value projections and columns of the output's. A key
        dimension has a row of queries and of keys in every head, or two where a rotation turns
        them into each other; a value dimension a row and a column in every head.
        """
        rows = [UnitPart(f"linear_{x}", "output", self.key_size) for x in "qk"]
        row = UnitPart("linear_v", "output", self.value_size)
        column = UnitPart("linear_out", "input", self.value_size)
        points = 2 if self.rotary else 1
        # Queries alone say which dimensions count: masked keys would leave them no gradient
        query = UnitPart("linear_q", "output", copies=points * self.heads, reads=True)
        key = UnitPart("linear_k", "output", copies=points * self.heads)
        value = UnitPart("linear_v", "output", copies=self.heads)
        out = UnitPart("linear_out", "input", copies=self.heads)
        return (
            Units("attention_heads", self.heads, (*rows, row, column)),
            Units("key_dimensions", self.key_size // points, (query, key)),
            Units("value_dimensions", self.value_size, (value, out)),
        )

    def units_cut(self, kind: str, keep: Tensor) -> None:
        """Take note of heads or dimensions that were cut out of the matrices.

        Args:
            kind: Kind of the units.
            keep: Those that are left, bool (U,).
        """
        count = int(keep.sum())
        if kind == "attention_heads":
            self.heads = count
        elif kind == "value_dimensions":
            self.value_size = count
        elif not self.rotary:
            self.key_size = count
        elif count < len(keep):
            self.rotary_pairs = self._pairs().to(keep.device)[keep]
            self.key_size = 2 * count

    def _pairs(self) -> Tensor:
        """The rotary pairs that there are, (d_k / 2,)."""
        if self._buffers.get("rotary_pairs") is not None:
            return self._buffers["rotary_pairs"]  # type: ignore[return-value]
        return torch.arange(self.key_size // 2)

    def forward(
        self, x: Tensor, layout: ChunkLayout, past: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend.

        Args:
            x: Chunks ``(B, K, S, D)``.
            layout: Their geometry.
            past: Keys ``(B, H, L, d_k)``, rotated if they are to be, and values
                ``(B, H, L, d_v)`` of the L frames before the first chunk.

        Returns:
            Chunks ``(B, K, S, D)`` and the past of the next call.
        """
        batch, num_chunks, span, _ = x.shape
        query, key = self.linear_q(x), self.linear_k(x)
        scale = self.head_size**-0.5  # of the scores, with a rotation for nothing
        if self.rotary:
            cos, sin = layout.rotary(self.heads, self.head_size, self.rotary_pairs)
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


def _check_sizes(size: int, key: int, rotary: bool) -> None:
    """Refuse sizes of a head that are odd where pairs are rotated.

    Raises:
        ConfigError: If they are, or there are more pairs than angles.
    """
    if size % 2:
        raise ConfigError(f"encoder_conf.attention_head_size must be even, got {size}")
    if rotary and (key % 2 or key > size):
        raise ConfigError(
            f"encoder_conf.attention_key_size must be even, and at most attention_head_size "
            f"{size}, got {key}"
        )


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
        value: ``(N, W, d_v)``.
        attn_mask: ``(N, W)``, True = may attend.
        dropout_rate: Dropout of the attention weights.

    Returns:
        ``(N, T, d_v)``.
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
