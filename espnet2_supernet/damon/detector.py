"""SALAD's detector: which frames are salient, told from the past only.

The paper's layers are unknown; these are our choice: per frame one small projection, then causal
convolutions over the last frames, and a weight for each channel. With 144 dimensions and the
defaults that is 83 thousand multiplications per frame, a sixth of a Conformer block's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError

# Name of the threshold in a recogniser or a detector; it is no number until it is chosen
THRESHOLD_KEY = "detector.threshold"


class SaladDetector(nn.Module):
    """Causal detector of salient frames over what the first block would read.

    Args:
        size: Dimension D of the frames.
        channels: Channels of the convolutions.
        kernel_size: Frames that each of them sees, the present one included.
        num_layers: Convolutions, one after the other.

    Attributes:
        threshold: Probability from which a frame is kept, a scalar; chosen after training, and no
            number before.

    Raises:
        ConfigError: If a size is no whole number from 1.
    """

    threshold: Tensor

    def __init__(
        self, size: int, channels: int = 64, kernel_size: int = 9, num_layers: int = 2
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "kernel_size": kernel_size, "num_layers": num_layers}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"detector: {name} is a whole number from 1, got {value!r}")
        self.norm = nn.LayerNorm(size)
        self.linear_in = nn.Linear(size, channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size) for _ in range(num_layers)
        )
        self.linear_out = nn.Linear(channels, 1)
        self._state_shape = (num_layers, channels, kernel_size - 1)
        self.register_buffer("threshold", torch.tensor(torch.nan))

    def init_state(self, batch_size: int) -> Tensor:
        """What each convolution saw before the first frame: zeros ``(B, L, C, kernel - 1)``."""
        return self.linear_in.weight.new_zeros(batch_size, *self._state_shape)

    def forward(self, frames: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score frames.

        Args:
            frames: ``(B, n, D)``.
            state: Result of :meth:`init_state` or of the last call; the former when None.

        Returns:
            Log-odds of being salient ``(B, n)``, and the next state.
        """
        state = self.init_state(len(frames)) if state is None else state
        if not frames.size(1):  # a convolution refuses fewer frames than its kernel
            return frames.new_zeros(len(frames), 0), state
        hidden, rest = F.silu(self.linear_in(self.norm(frames))).transpose(1, 2), []
        for convolution, past in zip(self.convolutions, state.unbind(1), strict=True):
            seen = torch.cat([past.to(hidden.dtype), hidden], dim=2)
            rest.append(seen[..., seen.size(2) - past.size(2) :])
            hidden = F.silu(convolution(seen))
        return self.linear_out(hidden.transpose(1, 2))[..., 0], torch.stack(rest, dim=1)


def log_odds(probability: float) -> float:
    """Return the logarithm of p / (1 - p), of p in float64: 0.99999999 is below 1 there only."""
    return float(torch.logit(torch.tensor(probability, dtype=torch.float64)))
