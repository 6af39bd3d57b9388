"""Inner loops that move numbers: copies, transposes, prefetches, sums of rows."""

from __future__ import annotations

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vectors as v

UNROLL = 4  # rows per turn of loops over packed rows, whose number is a multiple of it


@v.intrinsic
def transpose_tile(typingctx, source, place, stride, target, target_place, target_stride):
    """Transpose 16 x 16 numbers of ``source`` into ``target``, places and strides in numbers."""
    return v.procedure(
        _emit_transpose, (source, place, stride, target, target_place, target_stride)
    )


def _emit_transpose(b, source, place, stride, target, target_place, target_stride):
    def at(start: ir.Value, step: ir.Value, i: int) -> ir.Value:
        return b.add(start, b.mul(step, v.integer(i)))

    rows = [v.load(b, source, at(place, stride, i)) for i in range(v.LANES)]
    for i, row in enumerate(v.transpose(b, rows)):
        v.store(b, row, target, at(target_place, target_stride, i))


@v.intrinsic
def copy_vector(typingctx, source, place, target, target_place):
    """Copy 16 numbers."""

    def emit(b, source, place, target, target_place):
        v.store(b, v.load(b, source, place), target, target_place)

    return v.procedure(emit, (source, place, target, target_place))


@v.intrinsic
def prefetch_line(typingctx, matrix, place):
    """Prefetch a cache line."""
    return v.procedure(v.prefetch, (matrix, place))


@v.intrinsic
def add_rows(typingctx, panel, first, rows, sums, place):
    """Add the sum of ``rows`` packed rows, 16 columns from ``first`` on, to ``sums[place:]``."""

    def emit(b, panel, first, rows, sums, place):
        source = v.at(b, panel, first)

        def turn(i, totals):
            row = b.mul(i, v.integer(v.LANES))
            return [
                b.fadd(total, v.load(b, source, b.add(row, v.integer(t * v.LANES))))
                for t, total in enumerate(totals)
            ]

        parts = v.loop(b, rows, UNROLL, [v.zeros()] * UNROLL, turn)
        for part in parts[1:]:
            parts[0] = b.fadd(parts[0], part)
        v.store(b, b.fadd(v.load(b, sums, place), parts[0]), sums, place)

    return v.procedure(emit, (panel, first, rows, sums, place))
