"""One stream through a recogniser: samples in, text out, with a state that does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet2_supernet.runtime.layers.features import StreamingLogMel
from espnet2_supernet.runtime.result import StreamingResult
from espnet2_supernet.runtime.samples import check_samples
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis

if TYPE_CHECKING:
    from espnet2_supernet.runtime.recognizer import Recognizer

MAX_PIECE_SECONDS = 10.0  # longer pieces are split, so that their activations stay bounded


class Session:
    """Recognises one stream at a time; make it with :meth:`Recognizer.stream`.

    Args:
        recognizer: Weights and search, which sessions share.
        on_frames: Called with every new piece of encoder output ``(n, D)``.

    Attributes:
        num_samples: Samples accepted so far.
    """

    def __init__(
        self, recognizer: Recognizer, on_frames: Callable[[np.ndarray], None] | None = None
    ) -> None:
        """Start before the first sample."""
        self.recognizer = recognizer
        self._on_frames = on_frames
        self._max_piece = int(MAX_PIECE_SECONDS * recognizer.fs)
        self.reset()

    def reset(self) -> None:
        """Forget everything and be ready for another stream."""
        self._features = StreamingLogMel(self.recognizer.log_mel)
        self._encoder_state = self.recognizer.encoder.init_state()
        self._search_state: Any = self.recognizer.search.init_state()
        self.num_samples = 0
        self._finished = False

    def accept(self, samples: np.ndarray) -> StreamingResult:
        """Take the next samples.

        Args:
            samples: Float samples ``(n,)`` at the model's rate; any n, 0 and 1 included.

        Returns:
            What has been recognised so far.

        Raises:
            DataError: If the samples are bad; the session can go on without them.
            RuntimeError: If the stream was already finished.
        """
        if self._finished:
            raise RuntimeError("the stream is finished; call reset() before accept()")
        wave = check_samples(samples)
        for start in range(0, len(wave), self._max_piece):
            piece = wave[start : start + self._max_piece]
            self._advance(self._features.accept(piece), is_final=False)
        self.num_samples += len(wave)
        return self.result()

    def result(self) -> StreamingResult:
        """Return what has been recognised so far."""
        return StreamingResult(
            self._search_state.transcript,
            self.recognizer.search.pending(self._search_state),
            self.recognizer.decoder,
            self.recognizer.frame_ms,
            self._finished,
        )

    def finish(self) -> StreamingResult:
        """End the stream: decode what is left and return the final result (repeatable)."""
        if not self._finished:
            self._advance(self._features.finish(), is_final=True)
            self._finished = True
        return self.result()

    @property
    def num_frames(self) -> int:
        """Encoder frames so far, dropped ones included."""
        return int(self._encoder_state.memory.past)

    @property
    def num_kept(self) -> int:
        """Of :attr:`num_frames` those that a token-keep rule kept; all without one."""
        return int(getattr(self._encoder_state.memory, "num_kept", self.num_frames))

    def nbest(self, count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses of the stream so far, best first."""
        return self.recognizer.search.nbest(self._search_state, count)

    def _advance(self, feats: np.ndarray, is_final: bool) -> None:
        """Push features ``(n, F)`` through encoder and search."""
        if not len(feats) and not is_final:
            return
        feats = self.recognizer.normalize(feats)
        frames = self.recognizer.encoder.stream(feats, self._encoder_state, is_final)
        if len(frames):
            if self._on_frames is not None:
                self._on_frames(frames)
            self.recognizer.search.advance(
                self._search_state, self.recognizer.to_search(frames), self._encoder_state.times
            )
