"""The chunk step of a stream that drops frames before the first block.

Equal to ``SupernetEncoder.stream`` with a ``FrameKeeper``. Kept frames are gathered, so that a
chunk takes as many panels of 16 frames as they fill, and no time at all when none of its own is
kept. Chunk, left and right context count all frames: the latency is that without dropping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.chunk.attention import Chunk
from espnet2_supernet.runtime.chunk.kept import NEVER
from espnet2_supernet.runtime.chunk.room import PLACE, ROW
from espnet2_supernet.runtime.encoder.step import EncoderMemory, EncoderStep
from espnet2_supernet.runtime.kernels.memory import padded
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray


@dataclass(kw_only=True)
class KeptMemory(EncoderMemory):
    """What a stream remembers; its size never changes.

    Attributes:
        times: Frame numbers in the stream of what the slots of the ring hold, int64 (ring,).
        num_kept: Kept frames encoded so far.
    """

    times: Array
    num_kept: int = 0


class KeptEncoderStep(EncoderStep):
    """The blocks and the final norm over kept frames.

    Args:
        description: Keys of ``EncoderDescription``.
        weights: As of :class:`EncoderStep`.
        compacted: Positions count kept frames only; else they are those in the stream.
        **options: As of :class:`EncoderStep`.

    Attributes:
        restores: Whether there is an output for every frame: never.
    """

    restores = False

    def __init__(
        self,
        description: Mapping[str, Any],
        weights: Mapping[str, Array | BlockMatrix],
        *,
        compacted: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(description, weights, **options)
        self._compacted = compacted
        self._kept_offsets = np.zeros_like(self._offsets)
        room, full = self._room, self._shape.panels
        self._rooms = [room._replace(words=room.words[:count]) for count in range(full + 1)]
        spot, reach = room.spots[-1], self.description.kernel // 2
        windows = room.data[spot[PLACE] - reach :].reshape(-1, spot[ROW])
        self._windows = windows[:, reach : reach + full * LANES]

    def init_state(self) -> KeptMemory:
        """State of a stream before its first frame."""
        times = np.full(self._shape.ring, NEVER, np.int64)
        return KeptMemory(super().init_state().memory, times=times)

    def step_kept(self, frames: Array, keep: Array, state: KeptMemory) -> Array:
        """Encode what is kept of a chunk.

        Args:
            frames: Subsampled frames (n, D): the chunk and its right context, dropped ones
                included; n is 1 to S, and less than S only at the end of a stream.
            keep: Which of them are kept, bool (n,).
            state: State of the stream; it is changed.

        Returns:
            Frames (n', D), the chunk's own kept ones, a new array.

        Raises:
            ValueError: If the frames do not fit or the stream is over.
        """
        own = int(np.count_nonzero(keep[: self.description.chunk_size]))
        # without any of its own, nobody reads the copies of the right context
        return self.step_visible_kept(frames, keep if own else np.zeros_like(keep), state)[:own]

    def step_visible_kept(self, frames: Array, keep: Array, state: KeptMemory) -> Array:
        """Encode what is kept of a chunk and of the copies of its right context.

        Arguments and errors as of :meth:`step_kept`.

        Returns:
            Frames (n'', D), the chunk's own kept ones first, a new array.
        """
        self._check(frames, state)
        check_decisions(frames, keep)
        chunk, past, kept = self.description.chunk_size, state.past, np.flatnonzero(keep)
        used, own = min(len(frames), chunk), int(np.count_nonzero(keep[:chunk]))
        out = self._out[:0, : self.description.size].copy()
        if len(kept):
            begin = past % self._shape.ring
            state.times[begin : begin + chunk] = NEVER
            state.times[begin : begin + own] = past + kept[:own]
            out = self._encode_kept(frames[kept], own, kept, state)
        state.past, state.ended = past + used, used < chunk
        state.num_kept += own
        return out

    def _encode_kept(self, frames: Array, own: int, places: Array, state: KeptMemory) -> Array:
        """Run as many panels as the kept frames fill.

        Args:
            frames: Kept frames (n, D), the chunk's own first.
            own: How many are its own.
            places: Their numbers from the first frame of the chunk (n,).
            state: State of the stream.
        """
        count, panels = len(frames), padded(len(frames)) // LANES
        self._windows[:, panels * LANES :] = 0.0  # of a chunk with more panels
        offsets, first = self._offsets, state.num_kept
        if not self._compacted:
            offsets, first = self._kept_offsets, state.past
            offsets[:count] = places
        chunk = Chunk(state.past, count, own, count, first, offsets, state.times)
        shape = self._shape._replace(panels=panels)
        return self._encode(frames, chunk, state, shape, self._rooms[panels])[:count]


def check_decisions(frames: Array, keep: Array) -> None:
    """Check decisions (n,) about frames (n, D).

    Raises:
        ValueError: If they are of other frames, or of none.
    """
    if keep.shape != frames.shape[:1] or not len(keep):
        raise ValueError(f"{keep.shape} decisions about {len(frames)} frames")
