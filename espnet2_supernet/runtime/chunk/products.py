"""Products of block matrices with the frames of a chunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.chunk.room import PANEL, PLACE, ROW
from espnet2_supernet.runtime.kernels.caching import kernel
from espnet2_supernet.runtime.kernels.frame_layers import quantize_panel
from espnet2_supernet.runtime.kernels.frame_results import float_result, int8_result
from espnet2_supernet.runtime.kernels.frame_tiles import float_tile, int8_tile
from espnet2_supernet.runtime.kernels.memory import WORDS
from espnet2_supernet.runtime.kernels.vectors import LANES, LINE, WORD

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
    """Round this part of the panels of a spot to bytes, and zeros behind its ``rows`` rows."""
    panels, size = room.words.shape
    words, spot = room.words.reshape(-1), room.spots[source]
    end = (rows + WORD - 1) // WORD * WORD
    for p in range(panels * part // parts, panels * (part + 1) // parts):
        origin = spot[PLACE] + p * spot[PANEL]
        room.data[origin + rows * LANES : origin + end * LANES] = 0.0  # of a block with more rows
        quantize_panel(room.data, origin, end, words, p * size, room.scales, p * LANES)


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
    matrix = weights.matrices[number]
    first, tiles = matrix[FIRST], matrix[END] - matrix[FIRST]
    begin, end = first + tiles * part // parts, first + tiles * (part + 1) // parts
    other, out = room.spots[operand], room.spots[target]
    if matrix[INT8]:
        _multiply_int8(begin, end, weights, matrix, room, room.sums[part], frames, mode, other, out)
    else:
        x, sums = room.spots[source], room.sums[part].view(np.float32)
        _multiply_floats(begin, end, weights, matrix, room, sums, frames, mode, x, other, out)


@kernel
def _multiply_floats(begin, end, weights, matrix, room, sums, frames, mode, x, other, out):
    """Products of tiles ``begin`` to ``end`` of a float32 matrix; spots in place of numbers."""
    for t in range(begin, end):
        row, height, line, count = weights.tiles[t]
        place = (line + (count + INDICES - 1) // INDICES) * WORDS
        if count == 0:
            sums[:] = 0.0
        for p in range(room.words.shape[0]):
            exist = frames - p * LANES
            if count > 0:
                float_tile(
                    weights.floats, place, weights.columns, line * INDICES, count, height,
                    room.data, x[PLACE] + p * x[PANEL], exist, sums,
                )  # fmt: skip
            float_result(
                sums, height, weights.floats, matrix[BIAS] + row, mode,
                room.data, other[PLACE] + p * other[PANEL] + row * LANES, exist,
                room.data, out[PLACE] + p * out[PANEL] + row * out[ROW], out[ROW],
            )  # fmt: skip


@kernel
def _multiply_int8(begin, end, weights, matrix, room, sums, frames, mode, other, out):
    """The same with an int8 matrix and the bytes of ``room.words``."""
    panels, size = room.words.shape
    words = room.words.reshape(-1)
    for t in range(begin, end):
        row, height, line, count = weights.tiles[t]
        place = (line + (count + INDICES - 1) // INDICES) * WORDS
        if count == 0:
            sums[:] = 0
        for p in range(panels):
            exist = frames - p * LANES
            if count > 0:
                int8_tile(
                    weights.ints, place, weights.columns, line * INDICES, count, height,
                    words, p * size, exist, sums,
                )  # fmt: skip
            int8_result(
                sums, height, weights.floats, matrix[BIAS] + row, mode,
                room.data, other[PLACE] + p * other[PANEL] + row * LANES, exist,
                room.data, out[PLACE] + p * out[PANEL] + row * out[ROW], out[ROW],
                weights.ints, matrix[SCALES] + row, matrix[CORRECTIONS] + row,
                room.scales, p * LANES,
            )  # fmt: skip
