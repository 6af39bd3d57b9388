"""Span masking of wav2vec 2.0, for all utterances of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_supernet.errors import ConfigError


@dataclass(frozen=True)
class SpanMasking:
    """How many spans, and how long; the names are fairseq's.

    An utterance of ``T`` frames gets ``mask_prob * T / mask_length`` spans, rounded up or down at
    random so that the mean is exact, at different starts drawn uniformly. Spans may overlap, so
    that fewer than ``mask_prob`` of the frames are masked: about ``1 - exp(-mask_prob)``. No span
    is cut off at the end. The definition is that of fairseq's ``compute_mask_indices``
    (``static`` lengths) but for three points: every possible start is drawn, including the
    last; utterances of a batch may have different numbers of masked frames; and short utterances
    are treated as said below.

    An utterance of ``mask_length`` frames or fewer gets no span: nothing would be left to predict
    it from. Below two lengths it gets at most one.

    Attributes:
        mask_prob: Spans per frame times ``mask_length``, from 0 to 1; 0 masks nothing.
        mask_length: Frames of a span.
        mask_min_masks: At least so many spans in an utterance that can have them.

    Raises:
        ConfigError: If a value is out of range.
    """

    mask_prob: float = 0.65
    mask_length: int = 10
    mask_min_masks: int = 2

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.mask_prob <= 1:
            raise ConfigError(f"model_conf.mask_prob: from 0 to 1, got {self.mask_prob}")
        if self.mask_length < 1:
            raise ConfigError(f"model_conf.mask_length: at least 1 frame, got {self.mask_length}")
        if self.mask_min_masks < 0:
            raise ConfigError(f"model_conf.mask_min_masks: from 0, got {self.mask_min_masks}")

    def draw(self, lengths: Sequence[int], generators: Sequence[np.random.Generator]) -> np.ndarray:
        """Draw the mask of a batch.

        Args:
            lengths: Frames of each utterance.
            generators: One for each utterance.

        Returns:
            Mask ``(B, T)``, bool, True = masked; T is the longest length.
        """
        longest = max(lengths, default=0)
        # Every utterance draws as many numbers as it has frames, whatever the batch.
        keys = np.full((len(lengths), longest + 1), np.inf)
        for row, length, random in zip(keys, lengths, generators, strict=True):
            row[: length + 1] = random.random(length + 1)
        frames = np.asarray(lengths, dtype=np.int64)
        starts = self._starts(keys[:, 1:], self._num_spans(frames, keys[:, 0]), frames)
        return self._dilate(starts)

    def _num_spans(self, frames: np.ndarray, rounding: np.ndarray) -> np.ndarray:
        """Number of spans of each utterance (B,)."""
        if self.mask_prob == 0:
            return np.zeros_like(frames)
        spans = np.floor(self.mask_prob * frames / self.mask_length + rounding).astype(np.int64)
        spans = np.maximum(spans, self.mask_min_masks)
        spans = np.where(frames < 2 * self.mask_length, np.minimum(spans, 1), spans)
        return np.where(frames <= self.mask_length, 0, spans)

    def _starts(self, keys: np.ndarray, spans: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Mark as many starts as there are spans, those with the smallest keys (B, T)."""
        last = frames - self.mask_length
        keys = np.where(np.arange(keys.shape[1]) <= last[:, None], keys, np.inf)
        ranks = keys.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        return (ranks < spans[:, None]) & np.isfinite(keys)

    def _dilate(self, starts: np.ndarray) -> np.ndarray:
        """Extend each start to a span (B, T)."""
        begun = starts.cumsum(axis=1)
        ended = np.zeros_like(begun)
        ended[:, self.mask_length :] = begun[:, : -self.mask_length]
        return begun > ended
