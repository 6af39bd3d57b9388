"""The encoder of a stream: features in, frames out, with a state that does not grow."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np

from espnet2_supernet.runtime.layers.subsampling import Subsampling

Array = np.ndarray


class StatefulStep(Protocol):
    """What remembers a stream."""

    def init_state(self) -> Any:
        """State of a stream before its first frame."""
        ...


class ChunkStep(StatefulStep, Protocol):
    """What :class:`~espnet2_supernet.runtime.encoder.step.EncoderStep` offers."""

    def step(self, frames: Array, num_frames: int, state: Any) -> Array:
        """Encode a chunk with its right context; changes the state, returns ``(C, D)``."""
        ...


@dataclass
class EncoderState:
    """Everything the encoder remembers of a stream.

    Attributes:
        feats: Features not yet subsampled ``(< factor, F)``.
        subsampling: State of the subsampling.
        frames: Subsampled frames not yet encoded ``(< C + R, D)``.
        memory: State of the chunk step.
        times: Numbers in the stream of the frames returned last; None where none is dropped.
    """

    feats: Array
    subsampling: list[Array]
    frames: Array
    memory: Any
    times: list[int] | None = None


class StreamingEncoder:
    """Subsampling and chunk step; one object serves any number of streams and threads.

    Args:
        subsampling: Features to frames.
        step: The blocks, a :class:`ChunkStep` unless a subclass calls them otherwise.
        sizes: Features F and model dimension D.
        chunk_size: Frames C that a step encodes.
        right_context: Frames R that it sees after them.
    """

    def __init__(
        self,
        subsampling: Subsampling,
        step: StatefulStep,
        sizes: tuple[int, int],
        chunk_size: int,
        right_context: int,
    ) -> None:
        """Keep the parts."""
        self.subsampling = subsampling
        self.chunk_size, self.right_context = chunk_size, right_context
        self._step: Any = step
        self._sizes = sizes
        self._lock = Lock()  # a step computes in room of its own, so one at a time

    def init_state(self) -> EncoderState:
        """State of a stream before its first feature."""
        feats, frames = (np.zeros((0, size), np.float32) for size in self._sizes)
        return EncoderState(feats, self.subsampling.init_state(), frames, self._step.init_state())

    def stream(self, feats: Array, state: EncoderState, is_final: bool = False) -> Array:
        """Encode as many chunks as the features complete.

        Args:
            feats: The next features ``(n, F)``; n may be 0.
            state: State of the stream, changed in place.
            is_final: No features follow: encode the rest, be it a whole chunk or not.

        Returns:
            Frames ``(n', D)``.
        """
        feats = np.concatenate([state.feats, feats])
        whole = len(feats) - len(feats) % self.subsampling.factor
        state.feats = feats[whole:].copy()
        if whole:
            frames = self._subsample(feats[:whole], state)
            state.frames = np.concatenate([state.frames, frames])
        needed = 1 if is_final else self.chunk_size + self.right_context
        encoded = [state.frames[:0]]
        while len(state.frames) >= needed:
            encoded.append(self._chunk(state))
        return np.concatenate(encoded)

    def _subsample(self, feats: Array, state: EncoderState) -> Array:
        """Turn features ``(factor * n, F)`` into frames ``(n, D)``; changes the state."""
        frames, state.subsampling = self.subsampling(feats, state.subsampling)
        return frames

    def _chunk(self, state: EncoderState) -> Array:
        visible = state.frames[: self.chunk_size + self.right_context]
        with self._lock:
            out = self._step_chunk(visible, state)
        state.frames = state.frames[self.chunk_size :].copy()
        return out

    def _step_chunk(self, visible: Array, state: EncoderState) -> Array:
        """Encode the chunk at the head of ``visible (n, D)``; changes the state."""
        used = min(len(visible), self.chunk_size)
        out: Array = self._step.step(visible, len(visible), state.memory)
        return out[:used]
