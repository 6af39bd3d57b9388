"""Layers between the products of a chunk, over 16 frames side by side.

A panel is (rows, 16): row for row the 16 frames of one feature. Places and strides count numbers.
"""

from __future__ import annotations

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vector_math as m
from espnet2_supernet.runtime.kernels import vectors as v
from espnet2_supernet.runtime.kernels.frame_tiles import store
from espnet2_supernet.runtime.kernels.vectors import WORD

EPSILON = 1e-5  # of torch's LayerNorm
ZERO_POINT = 128  # of unsigned bytes
_ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves the whole number in the lowest bits
_PAIR = 2  # rows per turn


@v.intrinsic
def layer_norm(typingctx, x, origin, size, weights, weight, bias, silu, out, place):
    """Normalise every frame of a panel.

    Args:
        typingctx: numba's.
        x: Input, float32.
        origin: Place of the panel in ``x``.
        size: Its rows, at least 2.
        weights: Where scales and biases are, float32.
        weight: Place of the scales.
        bias: Place of the biases.
        silu: 1 to apply SiLU to the result, 0 not to.
        out: Result, float32.
        place: Place of the panel in ``out``.
    """
    args = (x, origin, size, weights, weight, bias, silu, out, place)
    return v.procedure(_emit_layer_norm, args)


def _emit_layer_norm(b, x, origin, size, weights, weight, bias, silu, out, place):
    x, out = v.at(b, x, origin), v.at(b, out, place)
    scales, biases = v.at(b, weights, weight), v.at(b, weights, bias)
    count = m.splat(b, b.sitofp(size, v.FLOAT))

    def row(i: ir.Value, k: int = 0) -> ir.Value:
        return v.load(b, x, b.mul(b.add(i, v.integer(k)), v.integer(v.LANES)))

    def add_up(i, sums):
        return [b.fadd(total, row(i, k)) for k, total in enumerate(sums)]

    odd = b.and_(size, v.integer(1))
    pairs, last = b.sub(size, odd), b.sub(size, v.integer(1))
    alone = b.icmp_signed("==", odd, v.integer(1))  # the last row has no neighbour
    first, second = v.loop(b, pairs, _PAIR, [v.zeros()] * _PAIR, add_up)
    first = b.fadd(first, b.select(alone, row(last), v.zeros()))
    mean = b.fdiv(b.fadd(first, second), count)

    def add_squares(i, sums):
        rests = [b.fsub(row(i, k), mean) for k in range(_PAIR)]
        return [m.multiply_add(b, r, r, total) for r, total in zip(rests, sums, strict=True)]

    first, second = v.loop(b, pairs, _PAIR, [v.zeros()] * _PAIR, add_squares)
    rest = b.select(alone, b.fsub(row(last), mean), v.zeros())
    first = m.multiply_add(b, rest, rest, first)
    variance = b.fdiv(b.fadd(first, second), count)
    spread = m.square_root(b, b.fadd(variance, m.constant(EPSILON)))
    inverse = b.fdiv(m.constant(1.0), spread)

    def normalise(active: int) -> None:
        def turn(i, state):
            scale = b.fmul(inverse, m.splat(b, b.load(v.at(b, scales, i))))
            shift = m.splat(b, b.load(v.at(b, biases, i)))
            result = m.multiply_add(b, b.fsub(row(i), mean), scale, shift)
            result = m.silu(b, result) if active else result
            v.store(b, result, out, b.mul(i, v.integer(v.LANES)))
            return state

        v.loop(b, size, 1, [], turn)

    m.switch_on(b, silu, (0, 1), normalise)


@v.intrinsic
def quantize_panel(typingctx, x, origin, rows, words, place, scales, frame):
    """Round a panel to unsigned bytes, frame by frame: the largest magnitude becomes 127.

    Args:
        typingctx: numba's.
        x: Input, float32.
        origin: Place of the panel in ``x``.
        rows: Its rows, a multiple of 4.
        words: Result (rows / 4, 16), int32: four rows to a word, zero point ``ZERO_POINT``.
        place: Place of the panel in ``words``.
        scales: What the results are to be multiplied with, float32.
        frame: Place of the first of 16 in ``scales``.
    """
    return v.procedure(_emit_quantize, (x, origin, rows, words, place, scales, frame))


def _emit_quantize(b, x, origin, rows, words, place, scales, frame):
    x, words = v.at(b, x, origin), v.at(b, words, place)

    def row(i: ir.Value, k: int) -> ir.Value:
        return v.load(b, x, b.mul(b.add(i, v.integer(k)), v.integer(v.LANES)))

    def larger(i, found):
        return [m.maximum(b, m.magnitude(b, row(i, k)), largest) for k, largest in enumerate(found)]

    found = v.loop(b, rows, WORD, [v.zeros()] * WORD, larger)
    low, high = m.maximum(b, found[0], found[1]), m.maximum(b, found[2], found[3])
    largest = m.maximum(b, low, high)
    v.store(b, b.fmul(largest, m.constant(1 / 127)), scales, frame)
    silent = b.fcmp_ordered("==", largest, v.zeros())
    largest = b.select(silent, m.constant(1.0), largest)
    inverse = b.fdiv(m.constant(127.0), largest)

    def pack(i, state):
        total = m.int_constant(0)
        for k in range(WORD):
            whole = m.multiply_add(b, row(i, k), inverse, m.constant(_ROUND + ZERO_POINT))
            byte = b.and_(b.bitcast(whole, m.INTS), m.int_constant(255))
            total = b.or_(total, b.shl(byte, m.int_constant(8 * k)))
        store(b, total, words, b.mul(i, v.integer(v.LANES // WORD)))
        return state

    v.loop(b, rows, WORD, [], pack)


@v.intrinsic
def rotate_pair(typingctx, x, first, second, cos, sin, place):
    """Rotate two rows of a panel by the angles of their frames, in place.

    Args:
        typingctx: numba's.
        x: float32.
        first: Place of one row.
        second: Place of the other.
        cos: Cosines of frames.
        sin: Sines.
        place: Place of the first of 16 in both.
    """

    def emit(b, x, first, second, cos, sin, place):
        one, other = v.load(b, x, first), v.load(b, x, second)
        cos, sin = v.load(b, cos, place), v.load(b, sin, place)
        v.store(b, m.multiply_add(b, b.fneg(other), sin, b.fmul(one, cos)), x, first)
        v.store(b, m.multiply_add(b, one, sin, b.fmul(other, cos)), x, second)

    return v.procedure(emit, (x, first, second, cos, sin, place))


@v.intrinsic
def softmax(typingctx, scores, keys, hidden, inverse):
    """Turn scores into weights that are still to be multiplied with ``inverse``.

    Args:
        typingctx: numba's.
        scores: Scores (keys, 16) of 16 queries, in place.
        keys: Number of keys.
        hidden: What to add to the scores of a key: 0, or -1e30 where none may attend.
        inverse: Result, 16 numbers.
    """
    return v.procedure(_emit_softmax, (scores, keys, hidden, inverse))


def _emit_softmax(b, scores, keys, hidden, inverse):
    def score(i: ir.Value) -> ir.Value:
        bias = m.splat(b, b.load(v.at(b, hidden, i)))
        return b.fadd(v.load(b, scores, b.mul(i, v.integer(v.LANES))), bias)

    def larger(i, found):
        return [m.maximum(b, score(i), found[0])]

    (largest,) = v.loop(b, keys, 1, [m.constant(-1e30)], larger)

    def add_up(i, totals):
        weight = m.exp(b, b.fsub(score(i), largest))
        v.store(b, weight, scores, b.mul(i, v.integer(v.LANES)))
        return [b.fadd(totals[0], weight)]

    (total,) = v.loop(b, keys, 1, [v.zeros()], add_up)
    v.store(b, b.fdiv(m.constant(1.0), total), inverse, 0)


@v.intrinsic
def convolve_row(typingctx, window, origin, weights, taps, count, bias, out, place):
    """Slide the kernel of one feature over its frames.

    Args:
        typingctx: numba's.
        window: Frames, float32.
        origin: Place of the first frame that the kernel covers.
        weights: Where kernel and bias are, float32.
        taps: Place of the kernel.
        count: Its width.
        bias: Place of the bias.
        out: Result, float32.
        place: Place of the first of 16 frames.
    """

    def emit(b, window, origin, weights, taps, count, bias, out, place):
        window, taps = v.at(b, window, origin), v.at(b, weights, taps)

        def turn(i, totals):
            tap = m.splat(b, b.load(v.at(b, taps, i)))
            return [m.multiply_add(b, v.load(b, window, i), tap, totals[0])]

        start = m.splat(b, b.load(v.at(b, weights, bias)))
        v.store(b, v.loop(b, count, 1, [start], turn)[0], out, place)

    return v.procedure(emit, (window, origin, weights, taps, count, bias, out, place))


@v.intrinsic
def scale_rows(typingctx, x, rows, factors, out, place):
    """Multiply rows of 16 frames with one factor per frame: ``out[place:]`` (rows, 16)."""

    def emit(b, x, rows, factors, out, place):
        out, factor = v.at(b, out, place), v.load(b, factors, 0)

        def turn(i, state):
            row = b.mul(i, v.integer(v.LANES))
            v.store(b, b.fmul(v.load(b, x, row), factor), out, row)
            return state

        v.loop(b, rows, 1, [], turn)

    return v.procedure(emit, (x, rows, factors, out, place))
