"""What can be measured: a recogniser, and a stream of audio through it.

Nothing here needs torch, so that the memory of a row without torch can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from espnet2_supernet.measure.clock import StageClock


@dataclass(frozen=True)
class EngineInfo:
    """What a row of the report says about its recogniser.

    Attributes:
        label: Unique name of the row.
        subnet: Name of the subnet.
        engine: What computes, e.g. ``torch``, ``openvino``, ``runtime``.
        precision: ``fp32`` or ``int8``.
        chunk_size: Encoder frames of a chunk; None is full context.
        left_context: Encoder frames.
        right_context: Encoder frames.
        frame_ms: One encoder frame in ms.
        lookahead_ms: Look-ahead of the features in ms.
        fs: Sampling rate in Hz.
        search: ``greedy`` or ``beam``.
        beam_size: Hypotheses that the beam search keeps.
        output: ``ctc`` or ``rnnt``.
        bytes_on_disk: Size of the model file(s) that this row needs.
        files: What these are, in words.
    """

    label: str
    subnet: str
    engine: str
    precision: str
    chunk_size: int | None
    left_context: int
    right_context: int
    frame_ms: float
    lookahead_ms: float
    fs: int
    search: str
    beam_size: int
    output: str
    bytes_on_disk: int
    files: str

    @property
    def is_full(self) -> bool:
        """Whether the row has full context."""
        return self.chunk_size is None

    @property
    def algorithmic_latency_ms(self) -> float | None:
        """Chunk + right context + look-ahead of the features, in ms; None for full context."""
        if self.chunk_size is None:
            return None
        return (self.chunk_size + self.right_context) * self.frame_ms + self.lookahead_ms

    def piece_lengths(self) -> tuple[int, int]:
        """Return the samples that complete the first chunk, and those of each further one.

        A recogniser fed in these pieces computes one chunk per piece. Full context has no chunks:
        it is fed in pieces of a second and computes at the end.
        """
        first = self.algorithmic_latency_ms
        if self.chunk_size is None or first is None:
            return self.fs, self.fs
        chunk = self.chunk_size * self.frame_ms
        return round(first * self.fs / 1000.0), round(chunk * self.fs / 1000.0)


class Stream(Protocol):
    """One utterance on its way through a recogniser."""

    def accept(self, samples: np.ndarray) -> None:
        """Take the next samples ``(n,)``."""
        ...

    def finish(self) -> None:
        """End the utterance."""
        ...

    def tokens(self) -> list[int]:
        """Token ids so far, those that may still change included."""
        ...

    def frames(self) -> list[int]:
        """Encoder frame at which each of them was emitted."""
        ...


class Engine(Protocol):
    """A recogniser, loaded and ready."""

    @property
    def info(self) -> EngineInfo:
        """What the report says about it."""
        ...

    def open(self, clock: StageClock) -> Stream:
        """Start an utterance whose stages the clock times."""
        ...

    def text(self, tokens: list[int]) -> str:
        """Return the text of token ids."""
        ...

    def keep_ratio(self, waveforms: Sequence[np.ndarray]) -> float | None:
        """Fraction of the encoder frames of waveforms ``(N,)`` that it computes; None: all."""
        ...
