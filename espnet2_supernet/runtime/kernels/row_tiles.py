"""Products outside the encoder's blocks: rows of an input with strips of 16 outputs.

The weights of 16 outputs are the vector, which a turn multiplies with one broadcast input per row.
Every row adds its products up in the order of the columns, so that its result does not depend on
how many rows come together: a stream in pieces gives the same numbers as one in a whole.
"""

from __future__ import annotations

from espnet2_supernet.runtime.kernels import vector_math as m
from espnet2_supernet.runtime.kernels import vectors as v
from espnet2_supernet.runtime.kernels.caching import kernel

# Rows of a tile: powers of two up to what the registers hold.
TILE_ROWS = 16 if v.cpu_has("avx512f") else 4


@v.intrinsic
def row_tile(typingctx, x, place, size, rows, weights, first, count, biases, bias, out, target, to):
    """Products of ``rows`` rows with 16 outputs: ``out[target + r * to : + 16]``.

    Args:
        typingctx: numba's.
        x: Input, float32.
        place: Place of the first kept column of the first row in ``x``.
        size: Distance of rows in ``x``.
        rows: 1, 2, 4, 8 or 16, at most ``TILE_ROWS``.
        weights: Weights, 16 for every kept column, float32.
        first: Place of the first of them.
        count: Number of kept columns, which are neighbours, at least 1.
        biases: Biases, float32.
        bias: Place of the first of 16.
        out: Result, float32.
        target: Place of the first row in ``out``.
        to: Distance of rows in ``out``.
    """
    args = (x, place, size, rows, weights, first, count, biases, bias, out, target, to)
    return v.procedure(_emit, args)


def _emit(b, x, place, size, rows, weights, first, count, biases, bias, out, target, to):
    x, weights, start = v.at(b, x, place), v.at(b, weights, first), v.load(b, biases, bias)

    def tile(height: int) -> None:
        lines = [v.at(b, x, b.mul(size, v.integer(r))) for r in range(height)]

        def turn(i, totals):
            weight = v.load(b, weights, b.mul(i, v.integer(v.LANES)))
            return [
                m.multiply_add(b, v.load_broadcast(b, line, i), weight, total)
                for line, total in zip(lines, totals, strict=True)
            ]

        for r, total in enumerate(v.loop(b, count, 1, [start] * height, turn)):
            v.store(b, total, out, b.add(target, b.mul(to, v.integer(r))))

    m.switch_on(b, rows, [1 << i for i in range(TILE_ROWS.bit_length())], tile)


@kernel
def multiply_rows(x, rows, size, weights, strips, biases, out):
    """Fill ``out`` (rows, 16 strips) with ``x W^T + b``.

    Args:
        x: Input, float32 (rows * size,).
        rows: Rows.
        size: Columns.
        weights: Weights of all strips, float32.
        strips: First kept column, number of kept columns and place of the weights of every strip
            of 16 outputs, int64 (strips, 3).
        biases: float32 (16 * strips,).
        out: Result, float32 (rows * 16 * strips,).
    """
    outs = v.LANES * strips.shape[0]
    for s in range(strips.shape[0]):
        first, count, place = strips[s]
        row, height = 0, TILE_ROWS
        while row < rows:
            while height > rows - row:
                height //= 2
            row_tile(
                x, row * size + first, size, height, weights, place, count,
                biases, s * v.LANES, out, row * outs + s * v.LANES, outs,
            )  # fmt: skip
            row += height
