"""Products outside the encoder's blocks: mel filters, subsampling, output layers.

numpy would hand them to its BLAS, whose threads, as many as there are cores unless the environment
says otherwise, wait for work in busy loops: a stream on one thread would keep two cores busy.
"""

from __future__ import annotations

import numpy as np

from espnet2_supernet.runtime.kernels.memory import lined, padded
from espnet2_supernet.runtime.kernels.row_tiles import multiply_rows
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray


class RowMatrix:
    """A matrix that multiplies rows one like the other, whatever their number.

    Of every 16 outputs the columns from the first to the last that is not zero are stored, so that
    mel filters take a fifth.

    Args:
        weight: W, float32 (outs, ins).
        bias: b (outs,); None = none.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> matrix = RowMatrix(np.array([[1, 2]], np.float32), np.array([5], np.float32))
        >>> matrix(np.array([[10, 1], [0, 1]], np.float32)).tolist()
        [[17.0], [7.0]]
    """

    def __init__(self, weight: Array, bias: Array | None = None) -> None:
        if weight.ndim != 2 or 0 in weight.shape:
            raise ValueError(f"wanted a matrix, got shape {weight.shape}")
        self.outs, self.ins = weight.shape
        if bias is not None and bias.shape != (self.outs,):
            raise ValueError(f"bias: wanted {self.outs} numbers, got shape {bias.shape}")
        self._biases = lined(padded(self.outs))
        self._biases[: self.outs] = 0.0 if bias is None else bias
        kept = [_kept_columns(weight[s : s + LANES]) for s in range(0, self.outs, LANES)]
        counts = np.array([stop - start for start, stop in kept])
        places = LANES * (np.cumsum(counts) - counts)
        starts = [start for start, _ in kept]
        self._strips = np.stack([starts, counts, places], axis=1).astype(np.int64)
        self._weights = lined(LANES * int(counts.sum()))
        for s, ((start, stop), place) in enumerate(zip(kept, places, strict=True)):
            rows = weight[s * LANES : (s + 1) * LANES, start:stop]
            strip = self._weights[place : place + LANES * (stop - start)].reshape(-1, LANES)
            strip[:, : len(rows)] = rows.T

    def __call__(self, x: Array) -> Array:
        """Map ``(n, ins)`` to ``(n, outs)``, float32.

        Raises:
            ValueError: If the rows do not fit.
        """
        if x.ndim != 2 or x.shape[1] != self.ins:
            raise ValueError(f"wanted rows of {self.ins} numbers, got shape {x.shape}")
        flat = np.ascontiguousarray(x, np.float32).reshape(-1)
        out = np.empty(len(x) * len(self._biases), np.float32)
        multiply_rows(flat, len(x), self.ins, self._weights, self._strips, self._biases, out)
        return out.reshape(len(x), len(self._biases))[:, : self.outs]


def _kept_columns(rows: Array) -> tuple[int, int]:
    """First column that is not all zeros, and the end of the last; one column at least."""
    found = np.flatnonzero((rows != 0).any(axis=0))
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 1)
