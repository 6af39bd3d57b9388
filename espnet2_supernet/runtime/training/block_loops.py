"""The three products of block-sparse training, over ranges of rows or of tiles.

Kernels release the GIL and are cached on disk. Matrices are flat float32 arrays, row by row.

Rows are packed in panels ``[strip of 16 columns][PITCH rows][16]``: the rows of a tile lie at
constant distances whatever the number of columns, and the odd pitch keeps the strips of one row
from falling on the same sets of the cache (packing was 2-4 times slower with an even one).
"""

from __future__ import annotations

import numpy as np

from espnet2_supernet.runtime.kernels.caching import kernel
from espnet2_supernet.runtime.kernels.layout_tiles import (
    UNROLL,
    add_rows,
    copy_vector,
    prefetch_line,
    transpose_tile,
)
from espnet2_supernet.runtime.kernels.vectors import LANES
from espnet2_supernet.runtime.training.block_tiles import (
    INPUT_ROWS,
    ROWS,
    forward_tile,
    input_tile,
    prefetch_tile,
    weight_tile,
)

PANEL_ROWS = 64
PITCH = PANEL_ROWS + 1


@kernel
def scratch(size):
    """Return ``size`` float32 that begin on a cache line, so that no vector lies on two."""
    whole = np.empty(size + LANES, np.float32)
    first = -(whole.ctypes.data // 4) % LANES
    return whole[first : first + size]


@kernel
def _transpose(source, place, stride, rows, columns, target, target_place, target_stride):
    """Transpose (rows, columns), both multiples of 16; places and strides in numbers."""
    for c in range(0, columns, LANES):
        for r in range(0, rows, LANES):
            transpose_tile(
                source,
                place + r * stride + c,
                stride,
                target,
                target_place + c * target_stride + r,
                target_stride,
            )


@kernel
def _pack_rows(source, first, rows, size, panel):
    """Copy ``rows`` rows from ``first`` on, ``size`` numbers each, and zero the rest."""
    for r in range(rows):
        for strip in range(size // LANES):
            place = (first + r) * size + strip * LANES
            copy_vector(source, place, panel, (strip * PITCH + r) * LANES)
    for strip in range(size // LANES):
        panel[(strip * PITCH + rows) * LANES : (strip + 1) * PITCH * LANES] = 0.0


@kernel
def _prefetch(matrix, place, size, part, parts):
    """Prefetch one of several parts of ``size`` numbers, which will be read or written next."""
    lines = -(-size // LANES)
    for i in range(lines * part // parts, lines * (part + 1) // parts):
        prefetch_line(matrix, place + i * LANES)


@kernel
def pack_weights(weight, size, columns, starts, counts, packed):
    """Gather the kept blocks of a weight (16 groups, size) into ``packed`` (blocks, 16)."""
    turned = scratch(size * LANES)
    for g in range(starts.shape[0]):
        _transpose(weight, g * LANES * size, size, LANES, size, turned, 0, LANES)
        for i in range(starts[g], starts[g] + counts[g]):
            copy_vector(turned, columns[i] * LANES, packed, i * LANES)


@kernel
def unpack_weights(packed, size, columns, starts, counts, weight):
    """Scatter kept blocks into a weight, zeros elsewhere: undo ``pack_weights``."""
    turned = scratch(size * LANES)
    for g in range(starts.shape[0]):
        turned[:] = 0.0
        for i in range(starts[g], starts[g] + counts[g]):
            copy_vector(packed, i * LANES, turned, columns[i] * LANES)
        _transpose(turned, 0, LANES, size, LANES, weight, g * LANES * size, size)


@kernel
def forward(start, stop, x, ins, outs, offsets, weights, starts, counts, bias, out):
    """Fill rows ``start`` to ``stop`` of ``out`` (M, outs) with ``x (W*m)^T + bias``.

    Args:
        start: First row.
        stop: End of the rows.
        x: Input (M, ins).
        ins: Inputs, a multiple of 16.
        outs: Outputs, a multiple of 16.
        offsets: Place of every kept column in a panel, int32 (blocks,).
        weights: Kept blocks (blocks, 16).
        starts: First block of every group (groups,).
        counts: Kept blocks of every group (groups,).
        bias: Bias (outs,).
        out: Result.
    """
    panel = scratch(PITCH * ins)
    last = scratch(ROWS * LANES)  # a tile that is not full of rows
    for first in range(start, stop, PANEL_ROWS):
        rows = min(PANEL_ROWS, stop - first)
        _pack_rows(x, first, rows, ins, panel)
        for g in range(outs // LANES):
            for r in range(0, rows, ROWS):
                place = (first + r) * outs + g * LANES
                left = min(ROWS, rows - r)
                if counts[g] == 0:
                    for i in range(left):
                        copy_vector(bias, g * LANES, out, place + i * outs)
                    continue
                ahead = LANES  # the next group, or the first one of the rows after these
                if g == outs // LANES - 1:
                    ahead += (PANEL_ROWS - 1) * outs
                prefetch_tile(out, place + ahead, outs)
                target, target_place, stride = out, place, outs
                if left < ROWS:
                    target, target_place, stride = last, 0, LANES
                forward_tile(
                    panel, r * LANES, offsets, weights, starts[g], counts[g],
                    bias, g, target, target_place, stride,
                )  # fmt: skip
                if left < ROWS:
                    for i in range(left):
                        copy_vector(last, i * LANES, out, place + i * outs)


@kernel
def weight_gradient(start, stop, x, grads, rows, ins, outs, offsets, tiles, sums, bias_sums):
    """Add the gradients of the kept blocks of tiles ``start`` to ``stop``, and of the bias.

    The bias, sums of packed rows, is the work of whoever has the first tile.

    Args:
        start: First tile.
        stop: End of the tiles.
        x: Input (rows, ins).
        grads: Gradient of the output (rows, outs).
        rows: Number of rows.
        ins: Inputs, a multiple of 16.
        outs: Outputs, a multiple of 16.
        offsets: Place of every kept column in a panel, int32 (blocks,).
        tiles: First block, number of blocks and group of every tile, int64 (tiles, 3).
        sums: Result (blocks, 16).
        bias_sums: Result (outs,).
    """
    panel = scratch(PITCH * ins)
    grad_panel = scratch(PITCH * outs)
    for first in range(0, rows, PANEL_ROWS):
        count = min(PANEL_ROWS, rows - first)
        _pack_rows(x, first, count, ins, panel)
        _pack_rows(grads, first, count, outs, grad_panel)
        whole = (count + UNROLL - 1) // UNROLL * UNROLL
        if start == 0:
            for g in range(outs // LANES):
                add_rows(grad_panel, g * PITCH * LANES, whole, bias_sums, g * LANES)
        for i in range(start, stop):
            part, parts = i - start, stop - start
            _prefetch(x, (first + PANEL_ROWS) * ins, PANEL_ROWS * ins, part, parts)
            _prefetch(grads, (first + PANEL_ROWS) * outs, PANEL_ROWS * outs, part, parts)
            group = tiles[i, 2] * PITCH * LANES
            weight_tile(panel, offsets, grad_panel, group, whole, sums, tiles[i, 0], tiles[i, 1])


@kernel
def input_gradient(start, stop, grads, ins, outs, weights, columns, tiles, out):
    """Fill rows ``start`` to ``stop`` of ``out`` (M, ins) with ``grads (W*m)``.

    Args:
        start: First row.
        stop: End of the rows.
        grads: Gradient of the output (M, outs).
        ins: Inputs, a multiple of 16.
        outs: Outputs, a multiple of 16.
        weights: Kept blocks (blocks, 16), zeros for those that fill up a tile.
        columns: Input column of every block, int32 (blocks,); ``ins`` for those that fill up.
        tiles: First block, number of blocks and group of every tile, int64 (tiles, 3).
        out: Result.
    """
    turned = scratch(outs * INPUT_ROWS)
    sums = scratch((ins + 1) * INPUT_ROWS)
    last_in = scratch(INPUT_ROWS * outs)  # rows that do not fill a tile
    last_in[:] = 0.0
    last_out = scratch(INPUT_ROWS * ins)
    for first in range(start, stop, INPUT_ROWS):
        rows = min(INPUT_ROWS, stop - first)
        source, place = grads, first * outs
        target, target_place = out, first * ins
        if rows < INPUT_ROWS:
            last_in[: rows * outs] = grads[first * outs : (first + rows) * outs]
            source, place, target, target_place = last_in, 0, last_out, 0
        _transpose(source, place, outs, INPUT_ROWS, outs, turned, 0, INPUT_ROWS)
        sums[:] = 0.0
        for i in range(tiles.shape[0]):
            ahead = (first + INPUT_ROWS) * outs
            _prefetch(grads, ahead, INPUT_ROWS * outs, i, tiles.shape[0])
            _prefetch(out, first * ins, INPUT_ROWS * ins, i, tiles.shape[0])
            group = tiles[i, 2] * LANES * INPUT_ROWS
            input_tile(turned, group, weights, columns, tiles[i, 0], tiles[i, 1], sums)
        _transpose(sums, 0, INPUT_ROWS, ins, INPUT_ROWS, target, target_place, ins)
        if rows < INPUT_ROWS:
            out[first * ins : (first + rows) * ins] = last_out[: rows * ins]
