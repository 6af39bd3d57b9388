"""Block matrices on their way into the chunk step, and a check of them that stands alone."""

from __future__ import annotations

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.chunk.products import Weights, multiply, quantize
from espnet2_supernet.runtime.chunk.room import build_room
from espnet2_supernet.runtime.encoder.arena import Arena, row_corrections
from espnet2_supernet.runtime.kernels.frame_layers import ZERO_POINT
from espnet2_supernet.runtime.kernels.frame_results import STORE
from espnet2_supernet.runtime.kernels.memory import WORDS, padded
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray


def add_matrix(arena: Arena, matrix: BlockMatrix, bias: Array | None = None) -> list[int]:
    """Append a matrix and its bias to an arena.

    Args:
        arena: Where to.
        matrix: Weights; their scales, if any, are those of the result.
        bias: Bias (rows,); zeros when None.

    Returns:
        Its row of ``Weights.matrices``.

    Raises:
        ValueError: If the bias does not fit.
    """
    bias = np.zeros(matrix.rows, np.float32) if bias is None else bias
    if bias.shape != (matrix.rows,):
        raise ValueError(f"bias: wanted {matrix.rows} numbers, got shape {bias.shape}")
    place = arena.add(bias.astype(np.float32)) * WORDS
    scales = corrections = place
    if matrix.scales is not None:
        scales = arena.add(matrix.scales) * WORDS
        corrections = arena.add(row_corrections(matrix, ZERO_POINT)) * WORDS
    first, end = arena.add_matrix(matrix)
    return [first, end, place, scales, corrections, int(matrix.scales is not None)]


def build_weights(arena: Arena, matrices: list[list[int]]) -> Weights:
    """Lay out an arena to which matrices were added."""
    whole = arena.build()
    return Weights(
        whole.view(np.float32),
        whole.view(np.int32),
        whole.view(np.uint16),
        np.array(arena.tiles, np.int64).reshape(-1, 4),
        np.array(matrices, np.int64).reshape(-1, 6),
    )


def multiply_frames(matrix: BlockMatrix, x: Array, bias: Array | None = None) -> Array:
    """Multiply frames as the chunk step does; for tests and measurements of one matrix.

    Args:
        matrix: Weights (rows, columns).
        x: Frames (T, columns), float32.
        bias: Bias (rows,).

    Returns:
        Frames (T, rows).

    Raises:
        ValueError: If the frames do not fit.
    """
    if x.ndim != 2 or x.shape[1] != matrix.columns or not len(x):
        raise ValueError(f"wanted frames of {matrix.columns} numbers, got shape {x.shape}")
    arena = Arena()
    weights = build_weights(arena, [add_matrix(arena, matrix, bias)])
    panels, ins, outs = padded(len(x)) // LANES, padded(matrix.columns), padded(matrix.rows)
    room = build_room(panels, [ins, outs])
    turned = np.zeros((panels * LANES, ins), np.float32)
    turned[: len(x), : matrix.columns] = x
    size = turned.size
    room.data[:size] = turned.reshape(panels, LANES, ins).swapaxes(1, 2).reshape(-1)
    quantize(0, 1, room, 0, ins)
    multiply(0, 1, weights, 0, room, len(x), STORE, 0, 1, 1)
    rows = room.data[size:].reshape(panels, outs, LANES).swapaxes(1, 2).reshape(-1, outs)
    return np.ascontiguousarray(rows[: len(x), : matrix.rows])
