"""What becomes of the sums of a tile: bias, activation, gate or residual, and where they go."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vector_math as m
from espnet2_supernet.runtime.kernels import vectors as v
from espnet2_supernet.runtime.kernels.frame_tiles import load

# What is stored, given sums with bias s and the operand o (see ``float_result``).
STORE = 0  # s
SILU = 1  # s * sigmoid(s)
SIGMOID = 2  # sigmoid(s)
GATE = 3  # s * o, and 0 for frames that do not exist
ADD = 4  # s + o


@v.intrinsic
def float_result(
    typingctx, sums, height, bias, row, mode, operand, origin, exist, out, place, stride
):
    """Finish the rows of a tile.

    Args:
        typingctx: numba's.
        sums: Sums of products (height, 16), float32.
        height: Rows.
        bias: Biases of rows, float32.
        row: Place of the first in ``bias``.
        mode: One of the constants above.
        operand: float32, 16 numbers for every row.
        origin: Place of the first row in ``operand``.
        exist: Frames that exist (``GATE``).
        out: Result, float32.
        place: Where the first row goes.
        stride: Distance of rows.
    """
    args = (sums, height, bias, row, mode, operand, origin, exist, out, place, stride)

    def emit(b, sums, height, bias, row, mode, operand, origin, exist, out, place, stride):
        biases = v.at(b, bias, row)

        def value(i: ir.Value) -> ir.Value:
            total = v.load(b, sums, b.mul(i, v.integer(v.LANES)))
            return b.fadd(total, m.splat(b, b.load(v.at(b, biases, i))))

        _finish(b, value, height, mode, v.at(b, operand, origin), exist, out, place, stride)

    return v.procedure(emit, args)


@v.intrinsic
def int8_result(
    typingctx,
    sums,
    height,
    bias,
    row,
    mode,
    operand,
    origin,
    exist,
    out,
    place,
    stride,
    words,
    scale,
    correction,
    frame_scales,
    frame,
):
    """Like ``float_result`` for int32 sums, which scales and corrections turn into float32.

    Args:
        typingctx: numba's.
        sums: Sums of products (height, 16), int32.
        height: As in ``float_result``, like the nine below.
        bias: Biases.
        row: Place in ``bias``.
        mode: What to do.
        operand: Other operand.
        origin: Place in ``operand``.
        exist: Frames that exist.
        out: Result.
        place: Place in ``out``.
        stride: Distance of rows in ``out``.
        words: Where the scales of rows (float32) are and what the zero point added to their sums
            (int32).
        scale: Place of the scale of the first row.
        correction: Place of what was added to the sums of the first row.
        frame_scales: Scales of frames, float32.
        frame: Place of the first of 16 in ``frame_scales``.
    """
    args = (sums, height, bias, row, mode, operand, origin, exist, out, place, stride)
    more = (words, scale, correction, frame_scales, frame)
    return v.procedure(_emit_int8_result, args + more)


def _emit_int8_result(
    b, sums, height, bias, row, mode, operand, origin, exist, out, place, stride, *more
):
    words, scale, correction, frame_scales, frame = more
    of_frames = v.load(b, frame_scales, frame)
    biases, corrections = v.at(b, bias, row), v.at(b, words, correction)
    scales = b.bitcast(v.at(b, words, scale), v.FLOAT.as_pointer())

    def value(i: ir.Value) -> ir.Value:
        total = load(b, m.INTS, sums, b.mul(i, v.integer(v.LANES)))
        total = b.sub(total, m.splat(b, b.load(v.at(b, corrections, i))))
        scale = b.fmul(of_frames, m.splat(b, b.load(v.at(b, scales, i))))
        bias = m.splat(b, b.load(v.at(b, biases, i)))
        return m.multiply_add(b, b.sitofp(total, v.VECTOR), scale, bias)

    _finish(b, value, height, mode, v.at(b, operand, origin), exist, out, place, stride)


def _finish(b, value, height, mode, operand, exist, out, place, stride) -> None:
    """Emit one loop over rows for every mode."""
    target = v.at(b, out, place)

    def other(i: ir.Value) -> ir.Value:
        return v.load(b, operand, b.mul(i, v.integer(v.LANES)))

    def gate(x: ir.Value, i: ir.Value) -> ir.Value:
        return b.select(m.lanes_below(b, exist), b.fmul(x, other(i)), v.zeros())

    results: dict[int, Callable[[ir.Value, ir.Value], ir.Value]] = {
        STORE: lambda x, i: x,
        SILU: lambda x, i: m.silu(b, x),
        SIGMOID: lambda x, i: m.sigmoid(b, x),
        GATE: gate,
        ADD: lambda x, i: b.fadd(x, other(i)),
    }

    def rows(mode: int) -> None:
        def turn(i: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            v.store(b, results[mode](value(i), i), target, b.mul(i, stride))
            return state

        v.loop(b, height, 1, [], turn)

    m.switch_on(b, mode, results, rows)
