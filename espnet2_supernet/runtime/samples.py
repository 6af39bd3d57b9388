"""What a waveform must be."""

from __future__ import annotations

from typing import Any

import numpy as np

from espnet2_supernet.errors import DataError


def check_samples(speech: Any, where: str = "speech") -> np.ndarray:
    """Check a waveform and return it as float32 ``(N,)``.

    Args:
        speech: Float samples in [-1, 1]; N may be 0.
        where: Name for error messages.

    Raises:
        DataError: If it is not one-dimensional, not floating point, or holds NaN or infinity.
    """
    samples = np.asarray(speech)
    if samples.ndim != 1:
        raise DataError(
            f"{where}: one channel of samples (N,) expected, got shape {samples.shape}; "
            "pick or average the channels first"
        )
    if samples.dtype.kind != "f":
        raise DataError(
            f"{where}: floating-point samples in [-1, 1] expected, got {samples.dtype}; "
            "divide 16-bit samples by 32768"
        )
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise DataError(f"{where}: holds NaN or infinite samples")
    return samples
