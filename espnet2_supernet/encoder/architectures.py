"""The two architectures: Emformer-like transformer and conformer."""

from __future__ import annotations

from espnet2_supernet.encoder.block import ConformerBlock, TransformerBlock
from espnet2_supernet.encoder.encoder import SupernetEncoder


class SupernetTransformerEncoder(SupernetEncoder):
    """Emformer-like transformer: the modes differ by what attention may see, nothing else.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        attention_heads: Heads of each block.
        linear_units: Inner size of the feed-forward modules.
        num_blocks: Number of blocks.
        dropout_rate: Dropout of module outputs and feed-forward units.
        attention_dropout_rate: Dropout of attention weights.
        subsampling: ``stack`` (default, as torchaudio's Emformer RNN-T), ``conv2d``, or ``none``
            for a front-end with frames of the encoder's length.
        subsampling_channels: Channels of ``conv2d``.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        attention_heads: int = 4,
        linear_units: int = 1024,
        num_blocks: int = 12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
        subsampling: str = "stack",
        subsampling_channels: int = 32,
    ) -> None:
        blocks = [
            TransformerBlock(
                output_size, attention_heads, linear_units, dropout_rate, attention_dropout_rate
            )
            for _ in range(num_blocks)
        ]
        super().__init__(
            input_size, output_size, blocks, subsampling, subsampling_channels, dropout_rate
        )


class SupernetConformerEncoder(SupernetEncoder):
    """Conformer with dynamic chunk convolution.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        attention_heads: Heads of each block.
        linear_units: Inner size of the feed-forward modules.
        num_blocks: Number of blocks.
        dropout_rate: Dropout of module outputs and feed-forward units.
        attention_dropout_rate: Dropout of attention weights.
        cnn_module_kernel: Width of the depthwise kernel in frames, odd.
        subsampling: ``conv2d`` (default), ``stack`` or ``none``.
        subsampling_channels: Channels of ``conv2d``.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        attention_heads: int = 4,
        linear_units: int = 1024,
        num_blocks: int = 12,
        dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
        cnn_module_kernel: int = 15,
        subsampling: str = "conv2d",
        subsampling_channels: int = 32,
    ) -> None:
        blocks = [
            ConformerBlock(
                output_size,
                attention_heads,
                linear_units,
                dropout_rate,
                attention_dropout_rate,
                cnn_module_kernel,
            )
            for _ in range(num_blocks)
        ]
        super().__init__(
            input_size, output_size, blocks, subsampling, subsampling_channels, dropout_rate
        )
