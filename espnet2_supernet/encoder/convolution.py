"""Convolution module of the conformer with dynamic chunk convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.depthwise import depthwise_conv
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.units import UnitPart, Units
from espnet2_supernet.supernet.norm import SubnetLayerNorm


class ChunkConvolution(nn.Module):
    """Gated depthwise convolution whose kernel ends with the chunk.

    Frames to the left are the real ones, across the chunk's edge; frames beyond the chunk and its
    right context count as zero (dynamic chunk convolution, arXiv 2304.09325). Under full context
    it is the plain convolution of the conformer. LayerNorm instead of BatchNorm, and padding is
    zeroed before the kernel, so that no output depends on what an utterance is batched with.

    Args:
        size: Model dimension D.
        kernel_size: Odd number of frames.
        channels: Channels C of the depthwise kernel; by default D.

    Raises:
        ConfigError: If the kernel is even.
    """

    def __init__(self, size: int, kernel_size: int, channels: int | None = None) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(f"encoder_conf.cnn_module_kernel must be odd, got {kernel_size}")
        self.reach = kernel_size // 2
        inner = channels or size
        self.pointwise_in = MaskedLinear(size, 2 * inner)
        self.depthwise = nn.Conv1d(inner, inner, kernel_size, groups=inner)
        self.norm = SubnetLayerNorm(inner)
        self.pointwise_out = MaskedLinear(inner, size)

    @property
    def channels(self) -> int:
        """Channels C, also after some were cut off."""
        return self.pointwise_out.in_features

    def units(self) -> tuple[Units, ...]:
        """Channels: two rows of the gated projection, a kernel, its norm, a column behind it."""
        parts = (
            UnitPart("pointwise_in", "output", copies=2),
            UnitPart("depthwise", "output"),
            UnitPart("norm", "output"),
            UnitPart("pointwise_out", "input"),
        )
        return (Units("convolution_channels", self.channels, parts),)

    def forward(self, x: Tensor, layout: ChunkLayout, past: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve chunks.

        Args:
            x: Chunks with their right context ``(B, K, S, D)``.
            layout: Which of their frames exist.
            past: Gated frames before the first chunk ``(B, reach, C)``.

        Returns:
            Chunks ``(B, K, S, D)`` and the past of the next call.
        """
        x = F.glu(self.pointwise_in(x), dim=-1)
        x = x.masked_fill(~layout.valid[..., None], 0.0)
        window = layout.window(x, past, after=self.reach)
        out = depthwise_conv(window.flatten(0, 1), self.depthwise.weight, self.depthwise.bias)
        out = F.silu(self.norm(out.unflatten(0, x.shape[:2])))
        return self.pointwise_out(out), layout.last_frames(x, past)
