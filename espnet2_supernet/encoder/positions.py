"""Convolutional positional embedding of wav2vec 2.0, for whole utterances and for chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.block import BlockState, EncoderBlock
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.dropout import Dropout
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.norm import SubnetLayerNorm


class WeightNormConv(nn.Module):
    """Grouped convolution over frames; each tap's weights are a direction times a length.

    Weight normalisation (Salimans and Kingma, arXiv 1602.07868) over all but the last axis, as
    wav2vec 2.0 has it.

    Args:
        size: Dimension D of input and output.
        kernel_size: Taps k.
        groups: Groups G, a divisor of D.

    Raises:
        ConfigError: If the groups do not divide the dimension.
    """

    def __init__(self, size: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        if kernel_size < 1 or groups < 1 or size % groups:
            raise ConfigError(
                "encoder_conf: conv_pos must be at least 1 and conv_pos_groups must divide "
                f"output_size {size}, got {kernel_size} and {groups}"
            )
        self.groups = groups
        weight = torch.empty(size, size // groups, kernel_size)
        nn.init.normal_(weight, std=2 * (kernel_size * size) ** -0.5)  # fairseq's
        self.weight_v = nn.Parameter(weight)
        self.weight_g = nn.Parameter(_length(weight).detach().clone())
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, T, D)``, without padding: ``(N, T - k + 1, D)``."""
        weight = self.weight_v * (self.weight_g / _length(self.weight_v))
        return F.conv1d(x.transpose(1, 2), weight, self.bias, groups=self.groups).transpose(1, 2)


def _length(weight: Tensor) -> Tensor:
    """Euclidean length of each tap of ``(D, D / G, k)``: ``(1, 1, k)``."""
    return weight.square().sum((0, 1), keepdim=True).sqrt()


class ConvolutionalPositions(EncoderBlock):
    """Adds to each frame what a wide convolution tells of its place; the first block.

    A kernel of k frames reaches k // 2 frames back and (k - 1) // 2 ahead. Under full context it
    is wav2vec 2.0's; in chunks it ends with the chunk and its right context, and what lies beyond
    counts as zero, as the end of an utterance does (dynamic chunk convolution, arXiv 2304.09325).

    Args:
        size: Model dimension D.
        kernel_size: k, frames.
        groups: Groups of the convolution.
        dropout_rate: Dropout of the sum.
        post_norm: Normalise the sum.
    """

    droppable = False

    def __init__(
        self, size: int, kernel_size: int, groups: int, dropout_rate: float, post_norm: bool
    ) -> None:
        super().__init__()
        self.conv = WeightNormConv(size, kernel_size, groups)
        self.norm = SubnetLayerNorm(size) if post_norm else nn.Identity()
        self.dropout = Dropout(dropout_rate)
        self.reach, self.ahead = kernel_size // 2, (kernel_size - 1) // 2

    def init_state(self, batch_size: int, left_context: int, like: Tensor) -> BlockState:
        """State before the first frame: ``reach`` zeros; keys and values are empty."""
        nothing = like.new_zeros(batch_size, 0, 0, 0)
        past = like.new_zeros(batch_size, self.reach, self.conv.bias.numel())
        return BlockState(nothing, nothing, past)

    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Process chunks ``(B, K, S, D)`` after ``state``; return both anew."""
        x = x.masked_fill(~layout.valid[..., None], 0.0)
        window = layout.window(x, state.conv, after=self.ahead)
        places = F.gelu(self.conv(window.flatten(0, 1)).unflatten(0, x.shape[:2]))
        past = layout.last_frames(x, state.conv)
        return self.dropout(self.norm(x + places)), BlockState(state.key, state.value, past)
