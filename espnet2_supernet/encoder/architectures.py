"""The two architectures: Emformer-like transformer and conformer."""

from __future__ import annotations

from collections.abc import Sequence

from espnet2_supernet.encoder.block import ConformerBlock, TransformerBlock
from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.encoder.sizes import PerBlock, block_sizes, head_sizes
from espnet2_supernet.encoder.stack import with_norms


class SupernetTransformerEncoder(SupernetEncoder):
    """Emformer-like transformer: the modes differ by what attention may see, nothing else.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        attention_heads: Heads of each block: a number, or a list with one for each block.
        linear_units: Inner size of the feed-forward modules, likewise.
        num_blocks: Number of blocks.
        dropout_rate: Dropout of module outputs and feed-forward units.
        attention_dropout_rate: Dropout of attention weights.
        subsampling: ``stack`` (default, as torchaudio's Emformer RNN-T), ``conv2d``, ``conv1d``,
            or ``none`` for a front-end with frames of the encoder's length.
        subsampling_channels: Channels of ``conv2d``.
        attention_head_size: Size of a head, even; by default output_size / heads.
        attention_key_size: What is left of it for queries and keys in each block; by default all.
        attention_value_size: Likewise for values.
        layerdrop: Probability of leaving a block out of a training step.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        attention_heads: PerBlock = 4,
        linear_units: PerBlock = 1024,
        num_blocks: int = 12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
        subsampling: str = "stack",
        subsampling_channels: int = 32,
        attention_head_size: int | None = None,
        attention_key_size: PerBlock | None = None,
        attention_value_size: PerBlock | None = None,
        layerdrop: float = 0.0,
    ) -> None:
        sizes = block_sizes(num_blocks, attention_heads=attention_heads, linear_units=linear_units)
        each = head_sizes(num_blocks, attention_head_size, attention_key_size, attention_value_size)
        rates = (dropout_rate, attention_dropout_rate)
        blocks = [
            TransformerBlock(output_size, heads, units, *rates, head)
            for (heads, units), head in zip(sizes, each, strict=True)
        ]
        subsampled = (subsampling, subsampling_channels, dropout_rate)
        super().__init__(input_size, output_size, blocks, *subsampled, layerdrop=layerdrop)


class SupernetConformerEncoder(SupernetEncoder):
    """Conformer with dynamic chunk convolution.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        attention_heads: Heads of each block: a number, or a list with one for each block.
        linear_units: Inner size of the feed-forward modules, likewise.
        num_blocks: Number of blocks.
        dropout_rate: Dropout of module outputs and feed-forward units.
        attention_dropout_rate: Dropout of attention weights.
        cnn_module_kernel: Width of the depthwise kernel in frames, odd.
        subsampling: ``conv2d`` (default), ``conv1d``, ``stack`` or ``none``.
        subsampling_channels: Channels of ``conv2d``.
        attention_head_size: Size of a head, even; by default output_size / heads.
        attention_key_size: What is left of it for queries and keys in each block; by default all.
        attention_value_size: Likewise for values.
        macaron_linear_units: Inner size of the first feed-forward module of each block; by
            default as the second's.
        convolution_channels: Channels of the convolution of each block; by default output_size.
        layerdrop: Probability of leaving a block out of a training step.
        layerdrop_keep_norm: Of a block that is left out, by chance or by the depth of a subnet,
            keep the final norm (LDASR).
        kept_norms: Places in the row, from 0, where only the norm of a left-out block stands:
            extraction writes them.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        attention_heads: PerBlock = 4,
        linear_units: PerBlock = 1024,
        num_blocks: int = 12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
        cnn_module_kernel: int = 15,
        subsampling: str = "conv2d",
        subsampling_channels: int = 32,
        attention_head_size: int | None = None,
        attention_key_size: PerBlock | None = None,
        attention_value_size: PerBlock | None = None,
        macaron_linear_units: PerBlock | None = None,
        convolution_channels: PerBlock | None = None,
        layerdrop: float = 0.0,
        layerdrop_keep_norm: bool = False,
        kept_norms: Sequence[int] | None = None,
    ) -> None:
        sizes = block_sizes(
            num_blocks,
            attention_heads=attention_heads,
            linear_units=linear_units,
            macaron_linear_units=macaron_linear_units or linear_units,
            convolution_channels=convolution_channels or output_size,
        )
        each = head_sizes(num_blocks, attention_head_size, attention_key_size, attention_value_size)
        shared = (dropout_rate, attention_dropout_rate, cnn_module_kernel)
        blocks = [
            ConformerBlock(output_size, heads, units, *shared, head, macaron, channels)
            for (heads, units, macaron, channels), head in zip(sizes, each, strict=True)
        ]
        subsampled = (subsampling, subsampling_channels, dropout_rate)
        super().__init__(
            input_size,
            output_size,
            with_norms(blocks, kept_norms or (), output_size),
            *subsampled,
            layerdrop=layerdrop,
            keep_norm=layerdrop_keep_norm,
        )
