"""The encoder of a bundle, one chunk at a time: numpy in, numpy out, no torch.

    step = EncoderStep(description, weights)
    state = step.init_state()
    out = step.step(frames, len(frames), state)

Equal to ``SupernetEncoder.stream`` behind the subsampling: a chunk of C frames and copies of the R
frames that follow it go through all blocks, which remember what the next chunk needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import BlockSizes, EncoderDescription
from espnet2_supernet.runtime.chunk.attention import Chunk, Shape, angles_of, shape_of
from espnet2_supernet.runtime.chunk.program import Memory, encode
from espnet2_supernet.runtime.chunk.room import Room, build_room
from espnet2_supernet.runtime.encoder.program_builder import ProgramBuilder
from espnet2_supernet.runtime.encoder.team import Team
from espnet2_supernet.runtime.kernels.memory import lined, padded
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray


@dataclass
class EncoderMemory:
    """What a stream remembers; its size never changes.

    Attributes:
        memory: Keys, values and convolution inputs of every block.
        past: Frames encoded so far.
        ended: Whether a chunk was not full, after which nothing may follow.
    """

    memory: Memory
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
        num_threads: Threads that compute a chunk together.
        final_norm: Whether the norm follows the blocks.

    Raises:
        ValueError: If the description is impossible or weights are missing or do not fit.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        weights: Mapping[str, Array | BlockMatrix],
        *,
        block: tuple[int, int] = (16, 1),
        num_threads: int = 1,
        final_norm: bool = True,
    ) -> None:
        d = self.description = EncoderDescription.from_dict(description)
        built = ProgramBuilder(d, weights, block, final_norm)
        self._program, self._weights = built.program, built.weights
        self._widest = _widest(d)
        shape = shape_of(d.size, d.width_of_head, d.chunk_size, d.left_context, d.right_context)
        self._shape, self._team = shape, Team(num_threads)
        self._angles = angles_of(shape, built.pairs)
        reach, widest = d.kernel // 2, self._widest
        width = max(shape.width, padded(widest.heads * shape.head), padded(widest.channels))
        inner = padded(max(widest.linear_units, widest.macaron_units))
        rows = [shape.width, *[width] * 4, inner]
        self._room = build_room(
            shape.panels,
            rows,
            slots=shape.slots,
            threads=num_threads,
            window=(widest.channels, (shape.panels + 1) * LANES + 2 * reach, reach),
        )
        self._frames = np.zeros((shape.panels * LANES, shape.width), np.float32)
        self._out = np.zeros_like(self._frames)
        self._offsets = np.arange(len(self._frames))
        self._no_times = np.zeros(0, np.int64)

    @property
    def span(self) -> int:
        """Frames S = C + R that a full step takes."""
        return self.description.chunk_size + self.description.right_context

    def init_state(self) -> EncoderMemory:
        """State of a stream before its first frame."""
        d, shape, widest = self.description, self._shape, self._widest
        window = widest.channels * padded(d.kernel // 2) if d.kind == "conformer" else 0
        sizes = (
            widest.heads * widest.key_size * shape.slots,
            widest.heads * padded(widest.value_size) * shape.slots,
            window,
        )
        arrays = [lined(d.num_blocks * size).reshape(d.num_blocks, size) for size in sizes]
        return EncoderMemory(Memory(*arrays))

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
        if not 1 <= num_frames <= len(frames):
            raise ValueError(f"{num_frames} frames of {len(frames)} are said to exist")
        chunk = self.description.chunk_size
        out = self.step_visible(frames[:num_frames], state)[:chunk]
        out[num_frames:] = 0.0
        return out

    def step_visible(self, frames: Array, state: EncoderMemory) -> Array:
        """Encode a chunk and the copies of its right context.

        Args:
            frames: Subsampled frames (n, D), see :meth:`step`; n is at least 1.
            state: State of the stream; it is changed.

        Returns:
            Frames, a new array whose first n are those of ``frames`` (at least S, D).

        Raises:
            ValueError: If the frames do not fit or the stream is over.
        """
        self._check(frames, state)
        chunk, past = self.description.chunk_size, state.past
        places = Chunk(past, len(frames), chunk, self.span, past, self._offsets, self._no_times)
        out = self._encode(frames, places, state, self._shape, self._room)
        used = min(len(frames), chunk)
        state.past, state.ended = past + used, used < chunk
        return out

    def _check(self, frames: Array, state: EncoderMemory) -> None:
        """Refuse frames that do not fit, and those of a stream that is over."""
        size = self.description.size
        if frames.ndim != 2 or frames.shape[1] != size or len(frames) > self.span:
            raise ValueError(f"wanted at most {self.span} x {size} frames, got {frames.shape}")
        if state.ended:
            raise ValueError("the stream is over: its last chunk was not full")

    def _encode(
        self, frames: Array, chunk: Chunk, state: EncoderMemory, shape: Shape, room: Room
    ) -> Array:
        """Run the program over the panels of ``shape``; a copy of all their frames (P, D)."""
        size, places = self.description.size, shape.panels * LANES
        self._frames[: len(frames), :size] = frames
        self._frames[len(frames) : places] = 0.0
        self._team.run(
            encode,
            self._frames.reshape(-1),
            chunk,
            shape,
            self.description.kernel,
            self._program,
            self._weights,
            self._angles,
            state.memory,
            room,
            self._out.reshape(-1),
        )
        return self._out[:places, :size].copy()


def _widest(description: EncoderDescription) -> BlockSizes:
    """The largest sizes that any block has."""
    blocks = [astuple(sizes) for sizes in description.block_sizes()]
    return BlockSizes(*map(max, zip(*blocks, strict=True)))
