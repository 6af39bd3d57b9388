"""What chunks have to know of the kept frames before them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = -(2**40)  # time of a frame that does not exist


@dataclass(frozen=True)
class KeptPast:
    """What a layout knows of the frames before it.

    Attributes:
        times: Frame numbers in the utterance of the last L kept frames ``(B, L)``, the latest
            last; :data:`NEVER` where there were fewer.
        num_kept: Kept frames so far ``(B,)``.
    """

    times: Tensor
    num_kept: Tensor

    @classmethod
    def none(cls, batch_size: int, left_context: int, like: Tensor) -> KeptPast:
        """Before the first frame, on the device of ``like``."""
        times = torch.full((batch_size, left_context), NEVER, device=like.device)
        return cls(times, torch.zeros(batch_size, dtype=torch.int64, device=like.device))
