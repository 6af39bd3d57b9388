"""Log-mel features of a waveform that arrives in pieces, and their normalisation.

The same frames as ``features/log_mel.py`` computes with torch: window, filters and floor are
those of the trained model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espnet2_supernet.runtime.layers.row_matrix import RowMatrix

Array = np.ndarray
LOG_FLOOR = 1e-8  # as in features/log_mel.py, which cannot be imported here


@dataclass(frozen=True)
class LogMel:
    """What a log-mel frame is made of.

    Attributes:
        window: Analysis window (win_length,), float32.
        filters: Mel filters (F, n_fft // 2 + 1), float32.
        hop_length: Shift of the window in samples.
    """

    window: Array
    filters: RowMatrix
    hop_length: int

    @property
    def n_fft(self) -> int:
        """FFT size in samples."""
        return 2 * (self.filters.ins - 1)

    @property
    def size(self) -> int:
        """Number of features F."""
        return self.filters.outs

    def frames(self, samples: Array) -> Array:
        """Features of all whole windows in ``samples (N,)``, N >= win_length: ``(T, F)``."""
        windows = np.lib.stride_tricks.sliding_window_view(samples, len(self.window))
        windows = windows[:: self.hop_length] * self.window
        spectrum = np.fft.rfft(windows, n=self.n_fft)  # float32 stays float32 from numpy 2.0 on
        power = np.square(spectrum.real, dtype=np.float32)
        power += np.square(spectrum.imag, dtype=np.float32)
        feats = self.filters(power)
        np.maximum(feats, LOG_FLOOR, out=feats)
        return np.log(feats, out=feats)


@dataclass(frozen=True)
class GlobalMVN:
    """Normalisation by the mean and deviation of the training data.

    Attributes:
        mean: Subtracted (F,); None = not.
        std: Divided by (F,); None = not.
    """

    mean: Array | None
    std: Array | None

    def __call__(self, feats: Array) -> Array:
        """Normalise features ``(T, F)``, in place."""
        if self.mean is not None:
            feats -= self.mean
        if self.std is not None:
            feats /= self.std
        return feats


class StreamingLogMel:
    """Computes features from a waveform that arrives in pieces of any size.

    Args:
        log_mel: What to compute.
    """

    def __init__(self, log_mel: LogMel) -> None:
        """Start before the first sample."""
        self.log_mel = log_mel
        self.reset()

    def reset(self) -> None:
        """Forget everything heard."""
        self._rest: Array = np.zeros(0, np.float32)
        self._started = False

    def accept(self, samples: Array) -> Array:
        """Take float32 samples ``(n,)``; return the features ``(t, F)`` they complete."""
        width, hop = len(self.log_mel.window), self.log_mel.hop_length
        self._rest = np.concatenate([self._rest, samples])
        if len(self._rest) < width:
            return np.zeros((0, self.log_mel.size), np.float32)
        feats = self.log_mel.frames(self._rest)
        # A copy: a view would keep the whole piece in memory.
        self._rest = self._rest[len(feats) * hop :].copy()
        self._started = True
        return feats

    def finish(self) -> Array:
        """End the sound and forget it.

        Returns:
            Features ``(1, F)`` of one padded window if all was shorter than one, else ``(0, F)``.
        """
        feats = np.zeros((0, self.log_mel.size), np.float32)
        if len(self._rest) and not self._started:
            missing = len(self.log_mel.window) - len(self._rest)
            feats = self.accept(np.zeros(missing, np.float32))
        self.reset()
        return feats
