"""Products of block matrices with the frames of a chunk, and a check of them that stands alone.

Frames lie in *panels* of 16: (rows, 16) numbers each, the last filled up with frames that do not
exist. Rows are padded to a multiple of 16 with zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.arena import LINE, WORD, Arena, row_corrections
from espnet2_supernet.runtime.block_matrix import BlockMatrix
from espnet2_supernet.runtime.frame_layers import ZERO_POINT, quantize_panel
from espnet2_supernet.runtime.frame_results import STORE, float_result, int8_result
from espnet2_supernet.runtime.frame_tiles import float_tile, int8_tile
from espnet2_supernet.runtime.kernels import kernel
from espnet2_supernet.runtime.vectors import LANES

Array = np.ndarray
WORDS = LINE // WORD  # of a line
INDICES = LINE // 2

# Columns of ``Weights.matrices``.
FIRST, END, BIAS, SCALES, CORRECTIONS, INT8 = range(6)
FIELDS = 6


class Weights(NamedTuple):
    """Weights of any number of matrices in one arena; places count 32-bit words.

    Attributes:
        floats: The arena as float32.
        ints: The same memory as int32.
        columns: The same memory as uint16.
        tiles: First row, rows, line and words of every tile, int64 (tiles, 4).
        matrices: First tile, end, places of bias, scales and corrections, and whether int8, int64
            (matrices, 6).
    """

    floats: Array
    ints: Array
    columns: Array
    tiles: Array
    matrices: Array


class Panels(NamedTuple):
    """Frames of a chunk.

    Attributes:
        data: float32.
        size: Numbers from one panel to the next.
        stride: Numbers from one row to the next.
        place: Place of the first panel.
    """

    data: Array
    size: int
    stride: int
    place: int


class Bytes(NamedTuple):
    """Frames of a chunk as unsigned bytes, see ``quantize_panel``.

    Attributes:
        words: int32.
        size: Words from one panel to the next.
        scales: Scales of frames, float32.
    """

    words: Array
    size: int
    scales: Array


@kernel
def quantize(part, parts, x, rows, panels, quantised):
    """Round this part of the panels of ``x``; ``rows`` a multiple of 4."""
    for p in range(panels * part // parts, panels * (part + 1) // parts):
        origin = x.place + p * x.size
        quantize_panel(
            x.data, origin, rows, quantised.words, p * quantised.size, quantised.scales, p * LANES
        )


@kernel
def multiply(part, parts, weights, number, x, quantised, panels, frames, mode, operand, out, sums):
    """Products of this part of the rows of a matrix with all panels.

    Args:
        part: Number of the part.
        parts: How many there are.
        weights: ``Weights``.
        number: Which matrix.
        x: Inputs (``Panels``) of a float32 matrix.
        quantised: Inputs (``Bytes``) of an int8 matrix.
        panels: Number of panels.
        frames: Frames that exist.
        mode: What becomes of the sums, see ``frame_results``.
        operand: Panels that are combined with the result.
        out: Panels of the result.
        sums: Room for 256 numbers, int32.
    """
    matrix = weights.matrices[number]
    size = matrix[END] - matrix[FIRST]
    floats = sums.view(np.float32)
    first = matrix[FIRST] + size * part // parts
    for t in range(first, matrix[FIRST] + size * (part + 1) // parts):
        row, height, line, count = weights.tiles[t]
        place = (line + (count + INDICES - 1) // INDICES) * WORDS
        for p in range(panels):
            other = operand.place + p * operand.size + row * LANES
            target = out.place + p * out.size + row * out.stride
            exist = frames - p * LANES
            if count == 0:
                sums[:] = 0
            if matrix[INT8]:
                if count:
                    int8_tile(
                        weights.ints,
                        place,
                        weights.columns,
                        line * INDICES,
                        count,
                        height,
                        quantised.words,
                        p * quantised.size,
                        sums,
                    )
                int8_result(
                    sums,
                    height,
                    weights.floats,
                    matrix[BIAS] + row,
                    mode,
                    operand.data,
                    other,
                    exist,
                    out.data,
                    target,
                    out.stride,
                    weights.floats,
                    matrix[SCALES] + row,
                    weights.ints,
                    matrix[CORRECTIONS] + row,
                    quantised.scales,
                    p * LANES,
                )
                continue
            if count:
                float_tile(
                    weights.floats,
                    place,
                    weights.columns,
                    line * INDICES,
                    count,
                    height,
                    x.data,
                    x.place + p * x.size,
                    floats,
                )
            float_result(
                floats,
                height,
                weights.floats,
                matrix[BIAS] + row,
                mode,
                operand.data,
                other,
                exist,
                out.data,
                target,
                out.stride,
            )


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
        np.array(matrices, np.int64).reshape(-1, FIELDS),
    )


def padded(rows: int) -> int:
    """The next multiple of 16."""
    return -(-rows // LANES) * LANES


def lined(size: int, kind: type = np.float32) -> Array:
    """Return zeros that begin on a cache line; ``kind`` has 32 bits."""
    whole: Array = np.zeros(size + WORDS, kind)
    first = -(whole.ctypes.data // WORD) % WORDS
    return whole[first : first + size]


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
    source = Panels(lined(panels * ins * LANES), ins * LANES, LANES, 0)
    target = Panels(lined(panels * outs * LANES), outs * LANES, LANES, 0)
    quarter = ins * LANES // WORD
    quantised = Bytes(lined(panels * quarter, np.int32), quarter, lined(panels * LANES))
    turned = np.zeros((panels * LANES, ins), np.float32)
    turned[: len(x), : matrix.columns] = x
    source.data[:] = turned.reshape(panels, LANES, ins).swapaxes(1, 2).reshape(-1)
    if matrix.scales is not None:
        quantize(0, 1, source, ins, panels, quantised)
    sums = lined(LANES * LANES, np.int32)
    multiply(0, 1, weights, 0, source, quantised, panels, len(x), STORE, target, target, sums)
    rows = target.data.reshape(panels, outs, LANES).swapaxes(1, 2).reshape(-1, outs)
    return np.ascontiguousarray(rows[: len(x), : matrix.rows])
