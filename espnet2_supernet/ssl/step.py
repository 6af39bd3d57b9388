"""One pre-training step over several subnets: what they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from espnet2_supernet.ssl.plan import Plan


@dataclass
class SSLStep:
    """What the subnets of a step share, and where they note their statistics.

    Attributes:
        plan: Masked frames and negatives.
        lengths: Encoder frames ``(B,)``.
        views: Kinds of features that are stacked in the frames, see ``features.views``.
        code_ids: Combination of codes of each masked frame ``(N,)``.
        stats: Statistics by name.
    """

    plan: Plan
    lengths: Tensor
    views: list[bool]
    code_ids: Tensor
    stats: dict[str, Any] = field(default_factory=dict)
