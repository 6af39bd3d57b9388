"""What stands before and after the encoder, each a graph of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.features.log_mel import LOG_FLOOR, LogMelFrontend


class LogMelGraph(nn.Module):
    """Waveform to log-mel features: :class:`LogMelFrontend` with the transform as a convolution.

    Args:
        frontend: The front-end.
    """

    input_names = ("samples",)
    output_names = ("feats",)
    basis: Tensor
    filters: Tensor

    def __init__(self, frontend: LogMelFrontend) -> None:
        super().__init__()
        self.hop = frontend.hop_length
        bins = torch.arange(frontend.n_fft // 2 + 1, dtype=torch.float64)
        times = torch.arange(frontend.win_length, dtype=torch.float64)
        angle = bins[:, None] * times * (2 * math.pi / frontend.n_fft)
        window = frontend.window.double()
        basis = torch.cat([angle.cos() * window, -angle.sin() * window])
        self.register_buffer("basis", basis[:, None].float())
        self.register_buffer("filters", frontend.filters.t()[..., None].contiguous())

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples ``(B, N)``, at least one window, to features ``(B, T, F)``."""
        real, imaginary = F.conv1d(samples[:, None], self.basis, stride=self.hop).chunk(2, dim=1)
        power = F.conv1d(real * real + imaginary * imaginary, self.filters)
        return power.clamp(min=LOG_FLOOR).log().transpose(1, 2)


class CTCGraph(nn.Module):
    """Encoder frames to log-probabilities of the tokens.

    Args:
        ctc: ESPnet's ``CTC``.
    """

    input_names = ("encoder_out",)
    output_names = ("log_probs",)

    def __init__(self, ctc: Any) -> None:
        super().__init__()
        self.linear = ctc.ctc_lo

    def forward(self, encoder_out: Tensor) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, V)``."""
        return self.linear(encoder_out).log_softmax(-1)


class PredictorGraph(nn.Module):
    """One step of the RNN-T predictor.

    Args:
        predictor: ``RNNDecoder`` or ``StatelessDecoder`` of ``espnet2.asr_transducer``.
    """

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.predictor = predictor
        self.kind = getattr(predictor, "dtype", "stateless")
        self.state_names = {"lstm": ("state_h", "state_c"), "gru": ("state_h",)}.get(self.kind, ())
        self.input_names = ("token", *self.state_names)
        self.output_names = ("predictor_out", *(f"new_{name}" for name in self.state_names))

    def state_shape(self, batch_size: int) -> tuple[int, int, int]:
        """Shape ``(layers, B, P)`` of each state; all are zeros before the first token."""
        return (self.predictor.dlayers, batch_size, self.predictor.output_size)

    def forward(self, token: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Read the last token, blank at the start.

        Args:
            token: ``(B,)``, int64.
            *states: ``(layers, B, P)`` each.

        Returns:
            Predictor output ``(B, P)`` and the next states.
        """
        x = self.predictor.embed(token[:, None])
        if self.kind == "stateless":
            return (x[:, 0],)
        layers = []
        for i, layer in enumerate(self.predictor.rnn):
            before = [state[i : i + 1] for state in states]
            x, after = layer(x, tuple(before) if self.kind == "lstm" else before[0])
            layers.append(after if self.kind == "lstm" else (after,))
        return (x[:, 0], *(torch.cat(parts) for parts in zip(*layers, strict=True)))


class JoinerGraph(nn.Module):
    """Encoder frame and predictor output to scores of the tokens.

    Args:
        joint: ``JointNetwork`` of ``espnet2.asr_transducer``.
    """

    input_names = ("encoder_out", "predictor_out")
    output_names = ("logits",)

    def __init__(self, joint: Any) -> None:
        super().__init__()
        self.joint = joint

    def forward(self, encoder_out: Tensor, predictor_out: Tensor) -> Tensor:
        """Map ``(B, D)`` and ``(B, P)`` to unnormalised ``(B, V)``."""
        return self.joint(encoder_out, predictor_out)
