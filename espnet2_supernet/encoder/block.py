"""Encoder blocks: transformer (Emformer-like) and conformer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.attention import ChunkAttention, HeadSizes
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.convolution import ChunkConvolution
from espnet2_supernet.encoder.dropout import Dropout
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.units import UnitPart, Units
from espnet2_supernet.supernet.norm import SubnetLayerNorm


@dataclass
class BlockState:
    """What a block remembers of the frames before a chunk.

    Attributes:
        key: Rotated attention keys ``(B, H, L, d_k)``.
        value: Attention values ``(B, H, L, d_v)``.
        conv: Inputs of the depthwise kernel ``(B, reach, C)``; reach = 0 without convolution.
    """

    key: Tensor
    value: Tensor
    conv: Tensor


class FeedForward(nn.Module):
    """Position-wise feed-forward module: D to ``units`` and back, SiLU or another between."""

    def __init__(
        self,
        size: int,
        units: int,
        dropout_rate: float,
        activation: Callable[[Tensor], Tensor] = F.silu,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.linear_in = MaskedLinear(size, units)
        self.linear_out = MaskedLinear(units, size)
        self.dropout = Dropout(dropout_rate)

    def units(self) -> tuple[Units, ...]:
        """Hidden units: a row of the first matrix, a column of the second."""
        parts = (UnitPart("linear_in", "output"), UnitPart("linear_out", "input"))
        return (Units("linear_units", self.linear_in.out_features, parts),)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., D)`` to ``(..., D)``."""
        return self.linear_out(self.dropout(self.activation(self.linear_in(x))))


class EncoderBlock(nn.Module, ABC):
    """A part of the encoder that maps chunks to chunks and remembers what came before.

    Attributes:
        droppable: Whether it counts as a layer: LayerDrop may leave it out of a training step, a
            depth out of a subnet.
    """

    droppable = True

    @property
    def bypass_norm(self) -> nn.Module | None:
        """Final norm of the block, which may be kept when the block is left out."""
        return None

    @abstractmethod
    def init_state(self, batch_size: int, left_context: int, like: Tensor) -> BlockState:
        """State before the first frame.

        Args:
            batch_size: B.
            left_context: L, frames.
            like: A tensor of the device and type wanted.
        """

    @abstractmethod
    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Process chunks ``(B, K, S, D)`` after ``state``; return both anew."""


class TransformerBlock(EncoderBlock):
    """Pre-norm transformer block; the modes differ in what attention sees and in nothing else.

    Args:
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Inner size of the feed-forward module.
        dropout_rate: Dropout of each module's output and of the feed-forward units.
        attention_dropout_rate: Dropout of the attention weights.
        head_size: Sizes of a head; by default D / heads.
    """

    reach = 0

    def __init__(
        self,
        size: int,
        heads: int,
        linear_units: int,
        dropout_rate: float,
        attention_dropout_rate: float,
        head_size: HeadSizes | None = None,
    ) -> None:
        super().__init__()
        self.norm_attention = SubnetLayerNorm(size)
        self.attention = ChunkAttention(size, heads, attention_dropout_rate, head_size=head_size)
        self.norm_feed_forward = SubnetLayerNorm(size)
        self.feed_forward = FeedForward(size, linear_units, dropout_rate)
        self.dropout = Dropout(dropout_rate)

    def init_state(self, batch_size: int, left_context: int, like: Tensor) -> BlockState:
        """State before the first frame: zeros, which the attention mask hides.

        Args:
            batch_size: B.
            left_context: L, frames.
            like: A tensor of the device and type wanted.

        Returns:
            Keys ``(B, H, L, d_k)``, values ``(B, H, L, d_v)``, convolution input
            ``(B, reach, C)``.
        """
        attention = self.attention
        shape = (batch_size, attention.heads, left_context)
        key = like.new_zeros(*shape, attention.key_size)
        value = like.new_zeros(*shape, attention.value_size)
        return BlockState(key, value, like.new_zeros(batch_size, self.reach, self.channels))

    @property
    def channels(self) -> int:
        """Channels C of the convolution; without one, nothing is stored of them."""
        return 1

    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Process chunks; full context is one chunk that holds the utterance.

        Args:
            x: Chunks with their right context ``(B, K, S, D)``.
            layout: Which of their frames exist, and what each may see.
            state: What the frames before the first chunk left.

        Returns:
            Chunks ``(B, K, S, D)`` and the state after the last one.
        """
        attended, (key, value) = self._attend(x, layout, state)
        x = x + attended
        x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return x, BlockState(key, value, state.conv)

    def _attend(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        past = (state.key, state.value)
        out, past = self.attention(self.norm_attention(x), layout, past)
        return self.dropout(out), past


class ConformerBlock(TransformerBlock):
    """Conformer block (Gulati et al., arXiv 2005.08100) with dynamic chunk convolution.

    Args:
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Inner size of the second feed-forward module.
        dropout_rate: Dropout of each module's output and of the feed-forward units.
        attention_dropout_rate: Dropout of the attention weights.
        cnn_module_kernel: Width of the depthwise kernel in frames, odd.
        head_size: Sizes of a head; by default D / heads.
        macaron_units: Inner size of the first feed-forward module; by default as the second's.
        channels: Channels of the depthwise kernel; by default D.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        linear_units: int,
        dropout_rate: float,
        attention_dropout_rate: float,
        cnn_module_kernel: int,
        head_size: HeadSizes | None = None,
        macaron_units: int | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__(size, heads, linear_units, dropout_rate, attention_dropout_rate, head_size)
        self.norm_macaron = SubnetLayerNorm(size)
        self.feed_forward_macaron = FeedForward(size, macaron_units or linear_units, dropout_rate)
        self.norm_convolution = SubnetLayerNorm(size)
        self.convolution = ChunkConvolution(size, cnn_module_kernel, channels)
        self.norm_out = SubnetLayerNorm(size)
        self.reach = self.convolution.reach

    @property
    def channels(self) -> int:
        """Channels C of the convolution."""
        return self.convolution.channels

    @property
    def bypass_norm(self) -> nn.Module:
        """Norm of the output."""
        return self.norm_out

    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Process chunks ``(B, K, S, D)`` after ``state``; return both anew."""
        x = x + 0.5 * self.dropout(self.feed_forward_macaron(self.norm_macaron(x)))
        attended, (key, value) = self._attend(x, layout, state)
        x = x + attended
        convolved, conv = self.convolution(self.norm_convolution(x), layout, state.conv)
        x = x + self.dropout(convolved)
        x = x + 0.5 * self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        return self.norm_out(x), BlockState(key, value, conv)
