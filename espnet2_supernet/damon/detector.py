"""SALAD's detector: which frames are salient, told from the past only.

The paper's layers are unknown; these are our choice: per frame one small projection, a depthwise
convolution over the last few frames, and a weight for each channel. The cost is about that of
D * channels multiplications per frame, where a Conformer block takes 12 D^2 and more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet2_supernet.encoder.depthwise import depthwise_conv
from espnet2_supernet.errors import ConfigError


class SaladDetector(nn.Module):
    """Causal detector of salient frames over what the first block would read.

    Args:
        size: Dimension D of the frames.
        channels: Channels of the convolution.
        kernel_size: Frames that it sees, the present one included.

    Attributes:
        threshold: Probability from which a frame is kept, a scalar; chosen after training, and no
            number before.

    Raises:
        ConfigError: If a size is no whole number from 1.
    """

    threshold: Tensor

    def __init__(self, size: int, channels: int = 64, kernel_size: int = 5) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("kernel_size", kernel_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"detector: {name} is a whole number from 1, got {value!r}")
        self.norm = nn.LayerNorm(size)
        self.linear_in = nn.Linear(size, channels)
        self.depthwise = nn.Conv1d(channels, channels, kernel_size, groups=channels)
        self.linear_out = nn.Linear(channels, 1)
        self.register_buffer("threshold", torch.tensor(torch.nan))

    def init_state(self, batch_size: int) -> Tensor:
        """The channels of the frames before the first one: zeros ``(B, kernel - 1, channels)``."""
        weight = self.linear_in.weight
        return weight.new_zeros(batch_size, self.depthwise.kernel_size[0] - 1, weight.size(0))

    def forward(self, frames: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score frames.

        Args:
            frames: ``(B, n, D)``.
            state: Result of :meth:`init_state` or of the last call; the former when None.

        Returns:
            Log-odds of being salient ``(B, n)``, and the next state.
        """
        state = self.init_state(len(frames)) if state is None else state
        hidden = F.silu(self.linear_in(self.norm(frames)))
        hidden = torch.cat([state.to(hidden.dtype), hidden], dim=1)
        seen = F.silu(depthwise_conv(hidden, self.depthwise.weight, self.depthwise.bias))
        rest = hidden[:, hidden.size(1) - state.size(1) :]
        return self.linear_out(seen)[..., 0], rest.clone()
