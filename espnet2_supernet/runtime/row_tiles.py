"""Inner loop of the products outside the blocks: some rows of an input with 16 outputs.

The weights of 16 outputs are the vector, which a turn multiplies with one broadcast input per row.
Every row adds its products up in the order of the columns, so that its result does not depend on
how many rows come together: a stream in pieces gives the same numbers as one in a whole.
"""

from __future__ import annotations

from espnet2_supernet.runtime import vector_math as m
from espnet2_supernet.runtime import vectors as v

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
