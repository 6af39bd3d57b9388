"""Products of block matrices with the frames of a chunk, and a check of them that stands alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.arena import LINE, Arena, row_corrections
from espnet2_supernet.runtime.block_matrix import BlockMatrix
from espnet2_supernet.runtime.chunk_room import PANEL, PLACE, ROW, WORDS, build_room, padded
from espnet2_supernet.runtime.frame_layers import ZERO_POINT, quantize_panel
from espnet2_supernet.runtime.frame_results import STORE, float_result, int8_result
from espnet2_supernet.runtime.frame_tiles import float_tile, int8_tile
from espnet2_supernet.runtime.kernels import kernel
from espnet2_supernet.runtime.vectors import LANES

Array = np.ndarray
INDICES = LINE // 2

# Columns of ``Weights.matrices``.
FIRST, END, BIAS, SCALES, CORRECTIONS, INT8 = range(6)


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


@kernel
def quantize(part, parts, room, source, rows):
    """Round this part of the panels of a spot to bytes; ``rows`` a multiple of 4."""
    panels, size = room.words.shape
    words, spot = room.words.reshape(-1), room.spots[source]
    for p in range(panels * part // parts, panels * (part + 1) // parts):
        origin = spot[PLACE] + p * spot[PANEL]
        quantize_panel(room.data, origin, rows, words, p * size, room.scales, p * LANES)


@kernel
def multiply(part, parts, weights, number, room, frames, mode, source, operand, target):
    """Products of this part of the rows of a matrix with all panels.

    Args:
        part: Number of the part.
        parts: How many there are.
        weights: ``Weights``.
        number: Which matrix.
        room: ``Room``.
        frames: Frames that exist.
        mode: What becomes of the sums, see ``frame_results``.
        source: Spot of the inputs; not used by an int8 matrix, which reads the bytes.
        operand: Spot that is combined with the result.
        target: Spot of the result.
    """
    panels, size = room.words.shape
    words, ints = room.words.reshape(-1), room.sums[part]
    floats = ints.view(np.float32)
    x, other, out = room.spots[source], room.spots[operand], room.spots[target]
    first, end, bias, scales, corrections, is_int8 = weights.matrices[number]
    begin, end = first + (end - first) * part // parts, first + (end - first) * (part + 1) // parts
    for t in range(begin, end):
        row, height, line, count = weights.tiles[t]
        column = line * INDICES
        place = (line + (count + INDICES - 1) // INDICES) * WORDS
        if count == 0:
            ints[:] = 0
        for p in range(panels):
            with_place = other[PLACE] + p * other[PANEL] + row * LANES
            to_place = out[PLACE] + p * out[PANEL] + row * out[ROW]
            exist = frames - p * LANES
            if is_int8:
                if count > 0:
                    origin = p * size
                    int8_tile(
                        weights.ints,
                        place,
                        weights.columns,
                        column,
                        count,
                        height,
                        words,
                        origin,
                        exist,
                        ints,
                    )
                int8_result(
                    ints,
                    height,
                    weights.floats,
                    bias + row,
                    mode,
                    room.data,
                    with_place,
                    exist,
                    room.data,
                    to_place,
                    out[ROW],
                    weights.ints,
                    scales + row,
                    corrections + row,
                    room.scales,
                    p * LANES,
                )
            else:
                if count > 0:
                    origin = x[PLACE] + p * x[PANEL]
                    float_tile(
                        weights.floats,
                        place,
                        weights.columns,
                        column,
                        count,
                        height,
                        room.data,
                        origin,
                        exist,
                        floats,
                    )
                float_result(
                    floats,
                    height,
                    weights.floats,
                    bias + row,
                    mode,
                    room.data,
                    with_place,
                    exist,
                    room.data,
                    to_place,
                    out[ROW],
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
