"""The encoder of a bundle, one chunk at a time: numpy in, numpy out, no torch.

    step = EncoderStep(description, weights)
    state = step.init_state()
    out = step.step(frames, len(frames), state)

Equal to ``SupernetEncoder.stream`` behind the subsampling: a chunk of C frames and copies of the R
frames that follow it go through all blocks, which remember what the next chunk needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime import chunk_blocks as blocks
from espnet2_supernet.runtime.arena import WORD
from espnet2_supernet.runtime.block_matrix import BlockMatrix
from espnet2_supernet.runtime.chunk_attention import angles_of, shape_of
from espnet2_supernet.runtime.chunk_products import Bytes, Panels, lined, padded
from espnet2_supernet.runtime.encoder_weights import EncoderDescription, WeightLoader
from espnet2_supernet.runtime.vectors import LANES

Array = np.ndarray


@dataclass
class EncoderMemory:
    """What a stream remembers; its size never changes.

    Attributes:
        memory: Keys, values and convolution inputs of every block.
        past: Frames encoded so far.
        ended: Whether a chunk was not full, after which nothing may follow.
    """

    memory: blocks.Memory
    past: int = 0
    ended: bool = False


class EncoderStep:
    """The blocks and the final norm of a ``SupernetConformerEncoder`` or its transformer twin.

    One object serves any number of streams, one call at a time: the room in which a chunk is
    computed is its own.

    Args:
        description: Keys of :class:`EncoderDescription`.
        weights: Arrays (or ``BlockMatrix``) by their names in the encoder's ``state_dict()``.
        block: Blocks into which dense matrices are cut.

    Raises:
        ValueError: If the description is impossible or weights are missing or do not fit.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        weights: Mapping[str, Array | BlockMatrix],
        *,
        block: tuple[int, int] = (16, 1),
    ) -> None:
        self.description = EncoderDescription.from_dict(description)
        d = self.description
        loader = WeightLoader(d, weights, block)
        shape = shape_of(d.size, d.heads, d.chunk_size, d.left_context, d.right_context)
        conformer, units = d.kind == "conformer", padded(d.linear_units)
        span = d.kernel - 1 + shape.panels * LANES
        self._plan = blocks.Plan(shape, d.num_blocks, conformer, loader.int8, units, d.kernel, span)
        self._weights, self._places = loader.weights, loader.places
        self._angles = angles_of(shape)
        self._room = _room(self._plan)
        self._frames = np.zeros((shape.panels * LANES, shape.width), np.float32)
        self._out = np.zeros_like(self._frames)

    @property
    def span(self) -> int:
        """Frames S = C + R that a full step takes."""
        return self.description.chunk_size + self.description.right_context

    def init_state(self) -> EncoderMemory:
        """State of a stream before its first frame."""
        plan, shape = self._plan, self._plan.shape
        window = shape.size * plan.span if plan.conformer else 0
        sizes = (shape.size * shape.slots, shape.slots * shape.width, window)
        arrays = [lined(plan.blocks * size).reshape(plan.blocks, size) for size in sizes]
        return EncoderMemory(blocks.Memory(*arrays))

    def step(self, frames: Array, num_frames: int, state: EncoderMemory) -> Array:
        """Encode a chunk.

        Args:
            frames: Subsampled frames (n, D): the chunk and its right context; n at most S.
            num_frames: How many of them exist, 1 to n. Less than S only at the end of a stream:
                with C or more the next chunk follows, with less than C the stream is over.
            state: State of the stream; it is changed.

        Returns:
            Frames (C, D), a new array; those beyond ``num_frames`` are zeros.

        Raises:
            ValueError: If the frames do not fit or the stream is over.
        """
        size, chunk = self.description.size, self.description.chunk_size
        if frames.ndim != 2 or frames.shape[1] != size or len(frames) > self.span:
            raise ValueError(f"wanted at most {self.span} x {size} frames, got {frames.shape}")
        if not 1 <= num_frames <= len(frames):
            raise ValueError(f"{num_frames} frames of {len(frames)} are said to exist")
        if state.ended:
            raise ValueError("the stream is over: its last chunk was not full")
        self._frames[:num_frames, :size] = frames[:num_frames]
        self._frames[num_frames:] = 0.0
        blocks.encode(
            self._frames.reshape(-1),
            num_frames,
            state.past,
            self._plan,
            self._weights,
            self._places,
            self._angles,
            state.memory,
            self._room,
            self._out.reshape(-1),
        )
        used = min(num_frames, chunk)
        state.past, state.ended = state.past + used, used < chunk
        out = self._out[:chunk, :size].copy()
        out[used:] = 0.0
        return out


def _room(plan: blocks.Plan) -> blocks.Room:
    """Allocate the room in which a chunk is computed."""
    shape = plan.shape

    def panels(rows: int) -> Panels:
        return Panels(lined(shape.panels * rows * LANES), rows * LANES, LANES, 0)

    most = max(plan.units, shape.width) * LANES // WORD
    words = lined(shape.panels * most, np.int32)
    return blocks.Room(
        x=panels(shape.width),
        y=panels(shape.width),
        query=panels(shape.width),
        key=panels(shape.width),
        value=panels(shape.width),
        hidden=panels(plan.units),
        quantised=Bytes(words, most, lined(shape.panels * LANES)),
        seen=lined(shape.slots),
        scores=lined(shape.slots * LANES),
        sums=lined((LANES + 1) * LANES, np.int32),
    )
