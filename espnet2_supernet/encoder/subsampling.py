"""From features to encoder frames without look-ahead, by a whole ``factor``.

Frame ``t`` uses features up to ``factor * t + factor - 1`` only. An incomplete last group is
dropped, in the whole utterance as in a stream.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError

FACTOR = 4  # of what subsamples: frames of 40 ms from features of 10 ms


class StackSubsampling(nn.Module):
    """Linear projection, then four frames side by side (torchaudio's Emformer RNN-T front-end).

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D, a multiple of four.

    Raises:
        ConfigError: If four does not divide D.
    """

    factor = FACTOR

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        if output_size % FACTOR:
            raise ConfigError(f"encoder_conf.output_size must be a multiple of 4: {output_size}")
        self.linear = nn.Linear(input_size, output_size // FACTOR, bias=False)

    def init_state(self, batch_size: int) -> list[Tensor]:
        """Nothing to remember: an empty list."""
        return []

    def forward(self, feats: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map features ``(B, 4 n, F)`` to frames ``(B, n, D)``."""
        return self.linear(feats).unflatten(1, (-1, FACTOR)).flatten(2), state


class Conv2dSubsampling(nn.Module):
    """Two 3x3 convolutions of stride two over time and frequency, causal in time (our choice).

    Args:
        input_size: Feature dimension F, at least 7.
        output_size: Model dimension D.
        channels: Channels of both convolutions.

    Raises:
        ConfigError: If there are fewer than 7 features.
    """

    factor = FACTOR

    def __init__(self, input_size: int, output_size: int, channels: int = 32) -> None:
        super().__init__()
        bands = [input_size, (input_size - 1) // 2, ((input_size - 1) // 2 - 1) // 2]
        if bands[2] < 1:
            raise ConfigError(f"conv2d subsampling needs at least 7 features, got {input_size}")
        self.state_shapes = [(1, 1, bands[0]), (channels, 1, bands[1])]
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2)
        self.linear = nn.Linear(channels * bands[2], output_size)

    def init_state(self, batch_size: int) -> list[Tensor]:
        """The last input frame of each convolution, zeros before the first.

        Args:
            batch_size: B.

        Returns:
            Per convolution ``(B, channels, 1, bands)``.
        """
        weight = self.conv1.weight
        return [weight.new_zeros(batch_size, *shape) for shape in self.state_shapes]

    def forward(self, feats: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map features to a fourth as many frames.

        Args:
            feats: Features ``(B, 4 n, F)``.
            state: Result of :meth:`init_state` or of the last call.

        Returns:
            Frames ``(B, n, D)`` and the next state.
        """
        x, next_state = feats[:, None], []
        for conv, last in zip((self.conv1, self.conv2), state, strict=True):
            x = torch.cat([last.to(x.dtype), x], dim=2)
            next_state.append(x[:, :, -1:])
            x = F.silu(conv(x))
        return self.linear(x.transpose(1, 2).flatten(2)), next_state


class Conv1dSubsampling(nn.Module):
    """Two convolutions of three frames and stride two over time, causal.

    The front-end of EncRL (arXiv 2505.16991): convolution, GELU, norm, convolution, GELU. Padding
    is in the past only, and a LayerNorm stands where theirs has BatchNorm (our choice: both so
    that it streams).

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
    """

    factor = FACTOR

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(input_size, output_size, 3, stride=2)
        self.norm = nn.LayerNorm(output_size)
        self.conv2 = nn.Conv1d(output_size, output_size, 3, stride=2)

    def init_state(self, batch_size: int) -> list[Tensor]:
        """The last input frame of each convolution, zeros before the first.

        Args:
            batch_size: B.

        Returns:
            ``(B, 1, F)`` and ``(B, 1, D)``.
        """
        convs = (self.conv1, self.conv2)
        return [conv.weight.new_zeros(batch_size, 1, conv.in_channels) for conv in convs]

    def forward(self, feats: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map features to a fourth as many frames.

        Args:
            feats: Features ``(B, 4 n, F)``.
            state: Result of :meth:`init_state` or of the last call.

        Returns:
            Frames ``(B, n, D)`` and the next state.
        """
        feats = torch.cat([state[0].to(feats.dtype), feats], dim=1)
        x = self.norm(F.gelu(self.conv1(feats.transpose(1, 2))).transpose(1, 2))
        x = torch.cat([state[1].to(x.dtype), x], dim=1)
        out = F.gelu(self.conv2(x.transpose(1, 2))).transpose(1, 2)
        return out, [feats[:, -1:], x[:, -1:]]


class FeatureProjection(nn.Module):
    """Layer norm and linear projection, frame by frame (wav2vec 2.0, ``feature_projection``).

    For a front-end whose frames are as long as the encoder's.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
    """

    factor = 1

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.linear = nn.Linear(input_size, output_size)

    def init_state(self, batch_size: int) -> list[Tensor]:
        """Nothing to remember: an empty list."""
        return []

    def forward(self, feats: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map features ``(B, T, F)`` to frames ``(B, T, D)``."""
        return self.linear(self.norm(feats)), state


SUBSAMPLING = {
    "stack": StackSubsampling,
    "conv2d": Conv2dSubsampling,
    "conv1d": Conv1dSubsampling,
    "none": FeatureProjection,
}
