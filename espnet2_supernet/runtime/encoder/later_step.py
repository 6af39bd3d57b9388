"""The chunk step of a stream that drops frames before a later block.

Equal to ``SupernetEncoder.stream`` with a ``FrameKeeper`` whose ``before_block`` is above 1: the
blocks below see all frames, those from it on the kept ones, right context included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription
from espnet2_supernet.runtime.encoder.kept_step import (
    KeptEncoderStep,
    KeptMemory,
    check_decisions,
)
from espnet2_supernet.runtime.encoder.step import EncoderMemory, EncoderStep

Array = np.ndarray


@dataclass
class LaterMemory:
    """What a stream remembers; its size never changes.

    Attributes:
        below: Of the blocks that see all frames.
        kept: Of those that see the kept ones.
    """

    below: EncoderMemory
    kept: KeptMemory

    @property
    def past(self) -> int:
        """Frames encoded so far, dropped ones counted."""
        return self.kept.past


class LaterKeptStep:
    """Blocks over all frames, then blocks and the final norm over the kept ones.

    Args:
        description: Keys of ``EncoderDescription``.
        weights: As of :class:`EncoderStep`.
        before_block: The first block that sees kept frames only, from 1; here at least 2.
        compacted: As of :class:`KeptEncoderStep`.
        **options: As of :class:`EncoderStep`.

    Raises:
        ValueError: If there is no such block, or see :class:`EncoderStep`.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        weights: Mapping[str, Array | BlockMatrix],
        *,
        before_block: int,
        compacted: bool = False,
        **options: Any,
    ) -> None:
        d = self.description = EncoderDescription.from_dict(description)
        if not 2 <= before_block <= d.num_blocks:
            raise ValueError(f"before_block: wanted 2 to {d.num_blocks}, got {before_block}")
        first = before_block - 1
        below, kept = (asdict(d.part(*ends)) for ends in ((0, first), (first, d.num_blocks)))
        self._below = EncoderStep(below, weights, final_norm=False, **options)
        self._kept = KeptEncoderStep(
            kept, _from_block(weights, first), compacted=compacted, **options
        )

    @property
    def span(self) -> int:
        """Frames S = C + R that a full step takes."""
        return self._below.span

    def init_state(self) -> LaterMemory:
        """State of a stream before its first frame."""
        return LaterMemory(self._below.init_state(), self._kept.init_state())

    def step_kept(self, frames: Array, keep: Array, state: LaterMemory) -> Array:
        """Encode a chunk, of which the later blocks see what is kept.

        Arguments, result and errors as of :meth:`KeptEncoderStep.step_kept`.
        """
        check_decisions(frames, keep)  # before anything remembers the frames
        below = self._below.step_visible(frames, state.below)[: len(frames)]
        return self._kept.step_kept(below, keep, state.kept)


def _from_block(
    weights: Mapping[str, Array | BlockMatrix], first: int
) -> dict[str, Array | BlockMatrix]:
    """The weights of an encoder without its first blocks, which counts the others from 0."""
    found = {}
    for name, value in weights.items():
        place, _, rest = name.removeprefix("blocks.").partition(".")
        if not name.startswith("blocks."):
            found[name] = value
        elif int(place) >= first:
            found[f"blocks.{int(place) - first}.{rest}"] = value
    return found
