"""Arrays as the kernels want them: padded to whole vectors, beginning on cache lines."""

from __future__ import annotations

import numpy as np

from espnet2_supernet.runtime.kernels.vectors import LANES, LINE, WORD

Array = np.ndarray
WORDS = LINE // WORD  # of a line


def padded(rows: int) -> int:
    """The next multiple of 16."""
    return -(-rows // LANES) * LANES


def lined(size: int, kind: type = np.float32) -> Array:
    """Return zeros that begin on a cache line; ``kind`` has 32 bits."""
    whole: Array = np.zeros(size + WORDS, kind)
    first = -(whole.ctypes.data // WORD) % WORDS
    return whole[first : first + size]
