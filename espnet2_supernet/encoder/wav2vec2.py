"""The transformer of wav2vec 2.0 (arXiv 2006.11477), so that published weights fit."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from espnet2_supernet.encoder.attention import ChunkAttention, HeadSizes
from espnet2_supernet.encoder.block import BlockState, EncoderBlock, FeedForward, TransformerBlock
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.encoder.positions import ConvolutionalPositions
from espnet2_supernet.encoder.sizes import PerBlock, block_sizes, head_sizes


class Wav2Vec2Block(TransformerBlock):
    """Pre-norm block of wav2vec 2.0 LARGE: GELU, and no positions in the attention.

    Args:
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Inner size of the feed-forward module.
        dropout_rate: Dropout of each module's output.
        attention_dropout_rate: Dropout of the attention weights.
        activation_dropout_rate: Dropout of the feed-forward units.
        head_size: Sizes of a head; by default D / heads.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        linear_units: int,
        dropout_rate: float,
        attention_dropout_rate: float,
        activation_dropout_rate: float,
        head_size: HeadSizes | None = None,
    ) -> None:
        whole = HeadSizes(head_size.size) if head_size is not None else None
        super().__init__(size, heads, linear_units, dropout_rate, attention_dropout_rate, whole)
        self.attention = ChunkAttention(size, heads, attention_dropout_rate, False, head_size)
        self.feed_forward = FeedForward(size, linear_units, activation_dropout_rate, F.gelu)


class Wav2Vec2PostNormBlock(Wav2Vec2Block):
    """Post-norm block of wav2vec 2.0 BASE: each sum is normalised after its module."""

    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Process chunks ``(B, K, S, D)`` after ``state``; return both anew."""
        attended, (key, value) = self.attention(x, layout, (state.key, state.value))
        x = self.norm_attention(x + self.dropout(attended))
        x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        return x, BlockState(key, value, state.conv)


class SupernetWav2Vec2Encoder(SupernetEncoder):
    """wav2vec 2.0's encoder, BASE (post-norm) or LARGE (pre-norm), streaming or not.

    Features are normalised and projected, convolutional positions added, then come the blocks.
    Under full context it computes what the original does. In chunks, attention and positions end
    with the chunk and its right context.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        attention_heads: Heads of each block: a number, or a list with one for each block.
        linear_units: Inner size of the feed-forward modules, likewise.
        num_blocks: Number of blocks.
        layer_norm_first: Pre-norm blocks and a final norm, as LARGE; else post-norm, as BASE
            (fairseq's name).
        conv_pos: Frames that the positional convolution spans (fairseq's name).
        conv_pos_groups: Its groups (fairseq's name).
        dropout_rate: Dropout of module outputs and of the sum with the positions.
        attention_dropout_rate: Dropout of attention weights.
        activation_dropout_rate: Dropout of the feed-forward units.
        input_dropout_rate: Dropout of the projected features (fairseq's ``dropout_input``).
        attention_head_size: Size of a head, even; by default output_size / heads.
        attention_key_size: What is left of it for queries and keys in each block; by default all.
        attention_value_size: Likewise for values.
        layerdrop: Probability of leaving a block out of a training step.

    Raises:
        ConfigError: If sizes do not divide as they must, or a rate is out of range.
    """

    normalizes_latents = True
    knows_times = False  # positions come from a convolution over what the blocks see

    def __init__(
        self,
        input_size: int,
        output_size: int = 768,
        attention_heads: PerBlock = 12,
        linear_units: PerBlock = 3072,
        num_blocks: int = 12,
        layer_norm_first: bool = False,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.1,
        activation_dropout_rate: float = 0.0,
        input_dropout_rate: float = 0.1,
        attention_head_size: int | None = None,
        attention_key_size: PerBlock | None = None,
        attention_value_size: PerBlock | None = None,
        layerdrop: float = 0.0,
    ) -> None:
        kind = Wav2Vec2Block if layer_norm_first else Wav2Vec2PostNormBlock
        rates = (dropout_rate, attention_dropout_rate, activation_dropout_rate)
        blocks: list[EncoderBlock] = [
            ConvolutionalPositions(
                output_size, conv_pos, conv_pos_groups, dropout_rate, not layer_norm_first
            )
        ]
        sizes = block_sizes(num_blocks, attention_heads=attention_heads, linear_units=linear_units)
        each = head_sizes(num_blocks, attention_head_size, attention_key_size, attention_value_size)
        blocks += [
            kind(output_size, heads, units, *rates, head)
            for (heads, units), head in zip(sizes, each, strict=True)
        ]
        subsampled = ("none", 0, input_dropout_rate)
        super().__init__(input_size, output_size, blocks, *subsampled, layer_norm_first, layerdrop)

    @property
    def latent_size(self) -> int:
        """Features F: what is quantised in pre-training is not yet projected."""
        return self.input_size

    def latents(self, feats: Tensor, feat_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The features ``(B, T, F)`` themselves, and their lengths ``(B,)``."""
        return feats[:, : int(feat_lengths.max())], feat_lengths

    def project(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise features ``(..., F)`` for the quantiser, and project them ``(..., D)``."""
        normalized = self.subsampling.norm(latents)  # type: ignore[operator, union-attr]
        projected: Tensor = self.subsampling.linear(normalized)  # type: ignore[operator, union-attr]
        return normalized, self.dropout(projected)
