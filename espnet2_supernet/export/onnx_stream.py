"""A stream over the chunk step of an encoder, whatever runs it; an example for other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


class StepStream:
    """Feeds features to the step, chunk by chunk, and carries the caches on.

    Args:
        run: Runs the graph: arrays by input name to its outputs in order.
        chunk_size: Encoder frames C of a chunk.
        right_context: Encoder frames R that it sees after them.
        cache_shapes: Names and shapes of the caches for one stream, in the order of the outputs.
        factor: Features of each encoder frame.
    """

    def __init__(
        self,
        run: Run,
        chunk_size: int,
        right_context: int,
        cache_shapes: Sequence[tuple[str, tuple[int, ...]]],
        factor: int = 4,
    ) -> None:
        self._run, self._factor = run, factor
        self._chunk, self._span = chunk_size, chunk_size + right_context
        self._caches = {
            name: np.zeros(shape, np.int64 if name == "processed_frames" else np.float32)
            for name, shape in cache_shapes
        }
        self._feats: np.ndarray | None = None

    def accept(self, feats: np.ndarray) -> list[np.ndarray]:
        """Take features ``(n, F)``; return the encoder frames ``(C, D)`` of each whole chunk."""
        self._feats = feats if self._feats is None else np.concatenate([self._feats, feats])
        found, window = [], self._factor * self._span
        while len(self._feats) >= window:
            found.append(self._step(self._feats[:window], self._span))
            self._feats = self._feats[self._factor * self._chunk :]
        return found

    def finish(self) -> list[np.ndarray]:
        """End the stream; return the encoder frames ``(n, D)`` of what is left, by chunks."""
        feats, found = self._feats, []
        if feats is None:
            return []
        ready = len(feats) // self._factor
        while ready > 0:
            window = np.zeros((self._factor * self._span, feats.shape[1]), np.float32)
            part = feats[: min(ready, self._span) * self._factor]
            window[: len(part)] = part
            found.append(self._step(window, min(ready, self._span))[:ready])
            feats, ready = feats[self._factor * self._chunk :], ready - self._chunk
        self._feats = None
        return found

    def _step(self, window: np.ndarray, num_frames: int) -> np.ndarray:
        inputs: dict[str, np.ndarray] = {
            "feats": np.ascontiguousarray(window[None], np.float32),
            "num_frames": np.array([num_frames], np.int64),
            **self._caches,
        }
        frames, *caches = self._run(inputs)
        self._caches = dict(zip(self._caches, caches, strict=True))
        return frames[0]
