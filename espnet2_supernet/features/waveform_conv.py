"""The convolutional front-end of wav2vec 2.0 (arXiv 2006.11477): features learnt from samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.time_norm import Heard, TimeNorm
from espnet2_supernet.features.windowed import StreamingFrames, WindowedFrontend

# (channels, kernel, stride), fairseq's default: windows of 400 samples every 320 samples
CONV_FEATURE_LAYERS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
NORMS = ("group", "layer")
SPEECH_LEVEL = 0.05  # root mean square of read speech; 0.048 in the median of LibriSpeech
OverTime = Callable[[TimeNorm, Tensor], Tensor]


class WaveformConvFrontend(WindowedFrontend):
    """Strided convolutions with GELU, without padding: 20 ms frames that see 25 ms each.

    With ``norm: layer`` (wav2vec 2.0 LARGE) each layer is normalised frame by frame. With ``norm:
    group`` (BASE) the first one is normalised over time, channel by channel, and only it; as
    published that sees the whole utterance. So a full-context subnet gets the published features,
    and a streaming one those of the cumulative norm, see :class:`TimeNorm`: masked and streamed
    alike, with a look-ahead of ``win_length - hop_length`` samples. The same holds for
    ``normalize_input``. Where the two kinds of features differ, a joint step computes both.

    Args:
        fs: Sampling rate in Hz.
        conv_feature_layers: Channels, kernel and stride of each layer (fairseq's name).
        norm: ``group`` or ``layer``.
        conv_bias: Whether the convolutions have biases (fairseq's name; LARGE has them).
        normalize_input: Give the waveform mean 0 and variance 1 first, as fairseq's ``normalize``
            does for LARGE. The group norm needs no such thing: it removes level and offset.

    Raises:
        ConfigError: If a value is out of range.
    """

    learned = True

    def __init__(
        self,
        fs: int = 16000,
        conv_feature_layers: Sequence[Sequence[int]] = CONV_FEATURE_LAYERS,
        norm: str = "group",
        conv_bias: bool = False,
        normalize_input: bool = False,
    ) -> None:
        win_length, hop_length = _window(conv_feature_layers)
        super().__init__(fs, win_length, hop_length)
        if norm not in NORMS:
            raise ConfigError(f"frontend_conf.norm: one of {', '.join(NORMS)}, got '{norm}'")
        if norm == "group" and normalize_input:
            raise ConfigError(
                "frontend_conf.normalize_input has no effect with norm: group, which removes level "
                "and offset; leave it out"
            )
        self.sees_utterance = norm == "group" or normalize_input
        size = (win_length, hop_length)
        self.input_norm = TimeNorm(1, 1, 1, *size, affine=False) if normalize_input else None
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        before = 1
        for number, (channels, kernel, stride) in enumerate(conv_feature_layers):
            self.convs.append(nn.Conv1d(before, channels, kernel, stride, bias=conv_bias))
            nn.init.kaiming_normal_(self.convs[-1].weight)  # type: ignore[arg-type]
            if norm == "layer":
                self.norms.append(nn.LayerNorm(channels))
            elif number == 0:
                self.norms.append(TimeNorm(channels, kernel, stride, *size))
            before = channels
        self._output_size = before

    def output_size(self) -> int:
        """Channels of the last layer."""
        return self._output_size

    def forward(
        self, input: Tensor, input_lengths: Tensor, streaming: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Compute features.

        Args:
            input: Waveforms ``(B, N)``, zero-padded.
            input_lengths: Samples of each ``(B,)``.
            streaming: Look ahead no further than each window.

        Returns:
            Features ``(B, T, C)``, zero beyond each length, and their lengths ``(B,)``.
        """
        samples = self.pad(input, input_lengths)
        whole = samples.size(1) - (samples.size(1) - self.win_length) % self.hop_length
        if streaming:
            feats = self.frames(samples[:, :whole])
        else:
            feats = self._convolve(samples, lambda norm, x: norm(x, input_lengths))
        return self.cut(feats, input_lengths)

    def frames(self, samples: Tensor) -> Tensor:
        """Features ``(B, T, C)`` of T windows and no further samples, without look-ahead."""
        return self._convolve(samples, lambda norm, x: norm.cumulative(x, self.start(norm))[0])

    def start(self, norm: TimeNorm) -> Heard:
        """What a stream has heard before its first sample: white noise as loud as speech."""
        conv = cast("nn.Conv1d", self.convs[0])
        power, mean = conv.weight.new_full((1,), SPEECH_LEVEL**2), conv.weight.new_zeros(1)
        if norm is not self.input_norm:
            power = power * conv.weight.square().sum((1, 2))
            mean = torch.zeros_like(power) if conv.bias is None else conv.bias
        return norm.start(mean, power)

    def _convolve(self, samples: Tensor, over_time: OverTime) -> Tensor:
        x = samples[:, None].to(self.convs[0].weight.dtype)  # type: ignore[arg-type]
        if self.input_norm is not None:
            x = over_time(self.input_norm, x)
        for number, conv in enumerate(self.convs):
            x = conv(x)
            norm = self.norms[number] if number < len(self.norms) else None
            if isinstance(norm, TimeNorm):
                x = over_time(norm, x)
            elif norm is not None:
                x = norm(x.transpose(1, 2)).transpose(1, 2)
            x = F.gelu(x)
        return x.transpose(1, 2)

    def streaming(self) -> StreamingFrames:
        """The stateful twin of this front-end."""
        return StreamingWaveformConv(self)


class StreamingWaveformConv(StreamingFrames):
    """Computes the streaming features piece by piece."""

    frontend: WaveformConvFrontend

    def reset(self) -> None:
        """Forget everything heard."""
        super().reset()
        self.heard: dict[TimeNorm, Heard] = {}

    def next_frames(self, samples: Tensor) -> Tensor:
        """Features ``(1, t, C)`` of the next t windows, given their samples ``(1, N)``."""
        return self.frontend._convolve(samples, self._over_time)

    def _over_time(self, norm: TimeNorm, x: Tensor) -> Tensor:
        heard = self.heard.get(norm) or self.frontend.start(norm)
        out, self.heard[norm] = norm.cumulative(x, heard)
        return out


def _window(layers: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Samples that the last layer's frames cover, and from one to the next.

    Raises:
        ConfigError: If the layers are none, or not triples of whole numbers from 1.
    """
    triples = [tuple(layer) for layer in layers if isinstance(layer, (list, tuple))]
    numbers = [number for triple in triples for number in triple]
    good = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in numbers)
    if not triples or len(triples) < len(layers) or {len(t) for t in triples} != {3} or not good:
        raise ConfigError(
            "frontend_conf.conv_feature_layers: write [[channels, kernel, stride], ...], "
            f"got {layers!r}"
        )
    strides = [stride for _, _, stride in triples]
    window = 1 + sum(
        (kernel - 1) * math.prod(strides[:number]) for number, (_, kernel, _) in enumerate(triples)
    )
    return window, math.prod(strides)
