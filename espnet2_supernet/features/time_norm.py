"""Normalisation over time: by the whole utterance, or by what has been heard so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError


@dataclass(frozen=True)
class Heard:
    """What a stream remembers.

    Attributes:
        frames: Frames so far.
        sums: Sums of the values and of their squares ``(2, B, C)``, float64: a stream is long.
        last: What the last frames were multiplied by, and what was added ``(B, C, 1)``; None
            before the first frame.
    """

    frames: int
    sums: Tensor
    last: tuple[Tensor, Tensor] | None = None


class TimeNorm(nn.Module):
    """Gives every channel mean 0 and variance 1 over time, then a scale and a bias of its own.

    Over an utterance it is a group norm of one channel per group, as in wav2vec 2.0 BASE, but for
    padding, which does not count. That looks ahead to the last sample. The *cumulative* norm is
    its streaming form: the statistics of all frames so far, as in Conv-TasNet's cLN (Luo and
    Mesgarani, arXiv 1809.07454), though per channel and brought up to date once for each frame of
    the front-end (our choice), exactly when that frame's last sample is there. So it looks ahead
    no further than the front-end's window does.

    Statistics of little are unreliable: the silence that a recording starts with would become as
    loud as speech. So a stream starts as if it had heard one frame of something typical. (Against
    statistics of the utterance, the first quarter of a second of 30 LibriSpeech utterances under
    64 random kernels was amplified 15 times in the median; if white noise as loud as speech was
    heard before, 2.6 times at most. Of recordings 20 dB quieter that makes 0.2 times at first, 0.6
    after a second, 0.85 after four.)

    Args:
        channels: C.
        kernel: Samples that one frame of the input covers.
        stride: Samples from frame to frame.
        win_length: Samples that one frame of the front-end covers.
        hop_length: Samples between these.
        affine: Learn scale and bias.
        eps: Added to the variance.

    Raises:
        ConfigError: If the windows leave frames out, or more than two of them share one.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        stride: int,
        win_length: int,
        hop_length: int,
        affine: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.eps = kernel, stride, eps
        self.hop = hop_length // stride
        self.overlap = (win_length - kernel) // stride + 1 - self.hop
        if not 0 <= self.overlap <= self.hop:
            raise ConfigError(
                "frontend_conf.conv_feature_layers: a norm over time wants windows of one to two "
                f"hops, these are {win_length} and {hop_length} samples"
            )
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor, num_samples: Tensor) -> Tensor:
        """Normalise whole utterances.

        Args:
            x: ``(B, C, T)``.
            num_samples: Samples of each waveform ``(B,)``.

        Returns:
            ``(B, C, T)``, of no meaning beyond each length.
        """
        counts = (num_samples - self.kernel).div(self.stride, rounding_mode="floor") + 1
        counts = counts.clamp(min=1)[:, None]
        x = _at_least_float(x)
        outside = torch.arange(x.size(2), device=x.device) >= counts
        sums = _sums(x.masked_fill(outside[:, None], 0.0))
        scale, shift = self._scale_and_shift(counts, sums)
        return x * scale[..., None] + shift[..., None]

    def start(self, mean: Tensor, variance: Tensor) -> Heard:
        """What to have heard before the first frame, given typical statistics ``(C,)``."""
        sums = self.hop * torch.stack([mean, variance + mean.square()]).double()
        return Heard(self.hop, sums[:, None])

    def cumulative(self, x: Tensor, heard: Heard) -> tuple[Tensor, Heard]:
        """Normalise frames by all that came before and by those they are computed with.

        Args:
            x: ``(B, C, T)``, just what n frames of the front-end need: ``overlap + n * hop``.
            heard: What was heard. But for :meth:`start` that includes the first ``overlap``.

        Returns:
            ``(B, C, T)``, and what has been heard.
        """
        x = _at_least_float(x)
        first, blocks = x[..., : self.overlap], x[..., self.overlap :].unflatten(-1, (-1, self.hop))
        before, frames = heard.sums, heard.frames
        if heard.last is None:
            before, frames = before + _sums(first), frames + self.overlap
        sums = _sums(blocks).cumsum(-1) + before[..., None]
        counts = frames + self.hop * torch.arange(1, blocks.size(2) + 1, device=x.device)
        scale, shift = self._scale_and_shift(counts, sums)
        old_scale, old_shift = heard.last or (scale[..., :1], shift[..., :1])
        blocks = blocks * scale[..., None] + shift[..., None]
        out = torch.cat([first * old_scale + old_shift, blocks.flatten(-2)], dim=-1)
        frames += self.hop * scale.size(-1)
        return out, Heard(frames, sums[..., -1], (scale[..., -1:], shift[..., -1:]))

    def _scale_and_shift(self, counts: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """What normalises, from sums ``(2, B, C, ...)`` over so many frames; float32."""
        mean, square = sums / counts
        scale = ((square - mean.square()).clamp(min=0.0) + self.eps).rsqrt()
        shift = -mean * scale
        if self.weight is not None and self.bias is not None:
            shape = (-1, *(1,) * (mean.dim() - 2))
            scale, shift = scale * self.weight.view(shape), shift * self.weight.view(shape)
            shift = shift + self.bias.view(shape)
            return scale.to(self.weight.dtype), shift.to(self.weight.dtype)
        return scale.float(), shift.float()


def _sums(x: Tensor) -> Tensor:
    """Sums of values and of squares over the last axis, ``(2, ...)`` in float64."""
    return torch.stack([x.sum(-1), x.square().sum(-1)]).double()


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
