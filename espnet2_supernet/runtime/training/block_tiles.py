"""Inner loops of products with 16x1 blocks: one tile of results, held in vector registers.

A block is 16 rows of a weight matrix in one column, so 16 weights that lie together in memory are
one vector. ``group`` is the number of such a strip of 16 rows.

================  ====================================  =========================  =============
tile              registers                             vector of a turn           loop over
================  ====================================  =========================  =============
``forward_tile``  ``ROWS`` rows x one group             weights of a kept column   kept columns
``weight_tile``   kept columns x one group              gradients of one row       rows
``input_tile``    kept columns x ``INPUT_ROWS`` rows    gradients of one output    16 outputs
================  ====================================  =========================  =============

A turn multiplies its vector with one broadcast number per register, near the peak of the CPU.
Sizes are our choice, so that a tile fills the registers and does not spill.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vectors as v
from espnet2_supernet.runtime.kernels.layout_tiles import UNROLL

_WIDE = v.cpu_has("avx512f")
ROWS = 16 if _WIDE else 4
COLUMNS = 12 if _WIDE else 6
ROW_VECTORS = 2 if _WIDE else 1
INPUT_ROWS = ROW_VECTORS * v.LANES


@v.intrinsic
def forward_tile(
    typingctx, panel, first, offsets, weights, start, count, bias, group, out, place, stride
):
    """Products of ``ROWS`` rows with one group: ``out[place + r * stride : + 16]``.

    Args:
        typingctx: numba's.
        panel: Rows of x, packed (see ``pack_rows``), float32.
        first: Place of the first row in the panel.
        offsets: Place of every kept column relative to the row, int32.
        weights: Kept blocks, 16 float32 each.
        start: First kept block of the group.
        count: Number of its kept blocks, at least 1.
        bias: Bias (out,), float32.
        group: Number of the group.
        out: Result, float32.
        place: Where the first row goes.
        stride: Distance of rows.
    """
    return v.procedure(
        _emit_forward,
        (panel, first, offsets, weights, start, count, bias, group, out, place, stride),
    )


def _emit_forward(b, panel, first, offsets, weights, start, count, bias, group, out, place, stride):
    rows = v.at(b, panel, first)
    offsets = v.at(b, offsets, start)
    weights = v.at(b, weights, b.mul(start, v.integer(v.LANES)))
    initial = v.load(b, bias, b.mul(group, v.integer(v.LANES)))

    def turn(i, sums):
        column = v.at(b, rows, v.load_scalar(b, offsets, i))
        weight = v.load(b, weights, b.mul(i, v.integer(v.LANES)))
        return [
            v.fma(b, v.load_broadcast(b, column, r * v.LANES), weight, total)
            for r, total in enumerate(sums)
        ]

    for r, total in enumerate(v.loop(b, count, 1, [initial] * ROWS, turn)):
        v.store(b, total, out, b.add(place, b.mul(stride, v.integer(r))))


@v.intrinsic
def weight_tile(typingctx, panel, offsets, grads, first, rows, sums, start, count):
    """Add the products of ``count`` kept columns with one group over rows to ``sums``.

    Args:
        typingctx: numba's.
        panel: Rows of x, packed, float32.
        offsets: Place of every kept column in the panel, int32.
        grads: Rows of the gradient of the output, packed, float32.
        first: Place of the group in ``grads``.
        rows: Number of rows, a multiple of ``UNROLL``.
        sums: Gradient of the kept blocks, 16 float32 each.
        start: First block of the tile.
        count: Blocks of the tile, even, 2 to ``COLUMNS``.
    """
    return v.procedure(_emit_weight_tile, (panel, offsets, grads, first, rows, sums, start, count))


def _emit_weight_tile(b, panel, offsets, grads, first, rows, sums, start, count):
    grads = v.at(b, grads, first)
    offsets = v.at(b, offsets, start)
    sums = v.at(b, sums, b.mul(start, v.integer(v.LANES)))

    def tile(size: int) -> None:
        columns = [v.at(b, panel, v.load_scalar(b, offsets, j)) for j in range(size)]

        def turn(i, totals):
            base = b.mul(i, v.integer(v.LANES))
            for t in range(UNROLL):
                place = b.add(base, v.integer(t * v.LANES))
                grad = v.load(b, grads, place)
                totals = [
                    v.fma(b, v.load_broadcast(b, column, place), grad, total)
                    for column, total in zip(columns, totals, strict=True)
                ]
            return totals

        before = [v.load(b, sums, j * v.LANES) for j in range(size)]
        for j, total in enumerate(v.loop(b, rows, UNROLL, before, turn)):
            v.store(b, total, sums, j * v.LANES)

    _for_each_size(b, count, tile)


@v.intrinsic
def input_tile(typingctx, grads, first, weights, columns, start, count, sums):
    """Add the products of one group's kept columns, ``INPUT_ROWS`` rows at once, to ``sums``.

    Args:
        typingctx: numba's.
        grads: Gradient of the output, transposed: ``INPUT_ROWS`` numbers per output, float32.
        first: Place of the group in ``grads``.
        weights: Kept blocks, 16 float32 each.
        columns: Input column of every kept block, int32.
        start: First block of the tile.
        count: Blocks of the tile, even, 2 to ``COLUMNS``.
        sums: Gradient of the input, transposed: ``INPUT_ROWS`` numbers per column, float32.
    """
    return v.procedure(_emit_input_tile, (grads, first, weights, columns, start, count, sums))


def _emit_input_tile(b, grads, first, weights, columns, start, count, sums):
    grads = v.at(b, grads, first)
    columns = v.at(b, columns, start)
    weights = v.at(b, weights, b.mul(start, v.integer(v.LANES)))
    parts = range(0, INPUT_ROWS, v.LANES)

    def tile(size: int) -> None:
        width = v.integer(INPUT_ROWS)
        places = [v.at(b, sums, b.mul(v.load_scalar(b, columns, j), width)) for j in range(size)]

        def turn(r, totals):
            grad = [v.load(b, v.at(b, grads, b.mul(r, width)), part) for part in parts]
            new = []
            for j in range(size):
                weight = v.load_broadcast(b, v.at(b, weights, r), j * v.LANES)
                new += [
                    v.fma(b, weight, grad[p], totals[j * len(parts) + p]) for p in range(len(parts))
                ]
            return new

        before = [v.load(b, place, part) for place in places for part in parts]
        totals = v.loop(b, v.integer(v.LANES), 1, before, turn)
        for j, place in enumerate(places):
            for p, part in enumerate(parts):
                v.store(b, totals[j * len(parts) + p], place, part)

    _for_each_size(b, count, tile)


@v.intrinsic
def prefetch_tile(typingctx, out, place, stride):
    """Prefetch what ``forward_tile`` will write at ``place``."""

    def emit(b, out, place, stride):
        for r in range(ROWS):
            v.prefetch(b, out, b.add(place, b.mul(stride, v.integer(r))))

    return v.procedure(emit, (out, place, stride))


def _for_each_size(b: ir.IRBuilder, count: ir.Value, emit: Callable[[int], None]) -> None:
    """Emit code for every even tile size, and the jump to the one wanted."""
    done = b.append_basic_block("tiled")
    jump = b.block
    cases = []
    for size in range(2, COLUMNS + 1, 2):
        block = b.append_basic_block(f"tile{size}")
        b.position_at_end(block)
        emit(size)
        b.branch(done)
        cases.append((size, block))
    b.position_at_end(jump)
    switch = b.switch(count, done)
    for size, block in cases:
        switch.add_case(v.integer(size), block)
    b.position_at_end(done)
