"""Inner loops of a chunk's products: a tile of rows x 16 frames, held in vector registers.

Activations lie frame beside frame: the 16 frames of an input are one vector, which a turn
multiplies with one broadcast weight per row of the tile.

int8 (``u8 x s8``): a word holds four inputs of one frame as unsigned bytes, or four weights as
signed ones. ``vpdpbusd`` (AVX-512 VNNI, AVX-VNNI) multiplies and adds them up in one instruction.
Elsewhere 16-bit pairs do the same, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from espnet2_supernet.runtime import vector_math as m
from espnet2_supernet.runtime import vectors as v
from espnet2_supernet.runtime.arena import HEIGHTS, WORD

WIDE = v.cpu_has("avx512f")
VNNI = "512" if v.cpu_has("avx512vnni") else "256" if v.cpu_has("avxvnni") else ""
REGISTER_ROWS = 16 if WIDE else 4  # rows whose sums fit in the registers
AHEAD = 128 * v.LANES  # words that weights are fetched ahead: 8 KB, time enough for main memory

Emit = Callable[..., ir.Value]


@v.intrinsic
def float_tile(typingctx, words, place, columns, first, count, height, x, origin, sums):
    """Products of the kept weights of a tile with 16 frames: ``sums`` (height, 16).

    Args:
        typingctx: numba's.
        words: Weights, float32.
        place: Place of the tile in ``words``: ``height`` weights for every kept column.
        columns: Kept columns, uint16.
        first: Place of the tile in ``columns``.
        count: Number of its kept columns, at least 1.
        height: Its rows: 1, 2, 4, 8 or 16.
        x: Inputs (columns, 16), float32.
        origin: Place of the first input in ``x``.
        sums: Result, float32.
    """
    args = (words, place, columns, first, count, height, x, origin, sums)
    return v.procedure(_indexed(v.VECTOR, m.multiply_add), args)


@v.intrinsic
def int8_tile(typingctx, words, place, columns, first, count, height, x, origin, sums):
    """Like ``float_tile`` with four inputs to a word: ``words``, ``x`` and ``sums`` are int32."""
    args = (words, place, columns, first, count, height, x, origin, sums)
    return v.procedure(_indexed(m.INTS, _dot), args)


@v.intrinsic
def dense_tile(typingctx, words, place, count, x, origin, sums):
    """Like ``float_tile`` with 16 rows when all columns are kept."""

    def emit(b, words, place, count, x, origin, sums):
        words, x = v.at(b, words, place), v.at(b, x, origin)

        def address(i: ir.Value) -> tuple[ir.Value, ir.Value]:
            offset = b.mul(i, v.integer(v.LANES))
            m.prefetch(b, words, b.add(offset, v.integer(AHEAD)))
            return offset, offset

        for top in range(0, v.LANES, REGISTER_ROWS):
            rows = (top, REGISTER_ROWS)
            _rows(b, v.VECTOR, m.multiply_add, words, x, address, count, rows, sums)

    return v.procedure(emit, (words, place, count, x, origin, sums))


def _indexed(kind: ir.VectorType, multiply: Emit) -> Callable[..., None]:
    def emit(b, words, place, columns, first, count, height, x, origin, sums):
        columns, words, x = v.at(b, columns, first), v.at(b, words, place), v.at(b, x, origin)

        def address(i: ir.Value) -> tuple[ir.Value, ir.Value]:
            column = b.zext(b.load(v.at(b, columns, i)), v.INT)
            offset = b.mul(i, height)
            m.prefetch(b, words, b.add(offset, v.integer(AHEAD)))
            return offset, b.mul(column, v.integer(v.LANES))

        _tile(b, kind, multiply, words, x, address, count, height, sums)

    return emit


def _tile(b, kind, multiply, words, x, address, count, height, sums) -> None:
    """Emit the loops over kept columns for every height of a tile."""

    def tile(size: int) -> None:
        for top in range(0, size, REGISTER_ROWS):
            rows = (top, min(REGISTER_ROWS, size - top))
            _rows(b, kind, multiply, words, x, address, count, rows, sums)

    m.switch_on(b, height, HEIGHTS, tile)


def _rows(b, kind, multiply, words, x, address, count, rows, sums) -> None:
    """Emit the loop over kept columns for some rows of a tile: the first and how many."""
    top, size = rows

    def turn(i, totals):
        offset, column = address(i)
        inputs = load(b, kind, x, column)
        place = v.at(b, words, b.add(offset, v.integer(top)))
        return [
            multiply(b, inputs, m.splat(b, b.load(v.at(b, place, v.integer(r)))), total)
            for r, total in enumerate(totals)
        ]

    zero = v.zeros() if kind == v.VECTOR else m.int_constant(0)
    for r, total in enumerate(v.loop(b, count, 1, [zero] * size, turn)):
        store(b, total, sums, v.integer((top + r) * v.LANES))


def load(b: ir.IRBuilder, kind: ir.VectorType, pointer: ir.Value, offset: ir.Value) -> ir.Value:
    """Load 16 words as vector of some type."""
    return b.load(b.bitcast(v.at(b, pointer, offset), kind.as_pointer()), align=4)


def store(b: ir.IRBuilder, value: ir.Value, pointer: ir.Value, offset: ir.Value) -> None:
    """Store 16 words."""
    b.store(value, b.bitcast(v.at(b, pointer, offset), value.type.as_pointer()), align=4)


def _dot(b: ir.IRBuilder, inputs: ir.Value, weights: ir.Value, total: ir.Value) -> ir.Value:
    """Add the products of four unsigned and four signed bytes in every place to ``total``."""
    if VNNI == "512":
        return _vpdpbusd(b, 512, total, inputs, weights)
    if VNNI == "256":
        halves = [
            _vpdpbusd(b, 256, *(_half(b, one, half) for one in (total, inputs, weights)))
            for half in range(2)
        ]
        return v.shuffle(b, halves[0], halves[1], range(v.LANES))
    for byte in range(WORD):
        left = m.int_constant(8 * (WORD - 1 - byte))
        unsigned = b.lshr(b.shl(inputs, left), m.int_constant(24))
        signed = b.ashr(b.shl(weights, left), m.int_constant(24))
        total = b.add(total, b.mul(unsigned, signed))
    return total


def _half(b: ir.IRBuilder, value: ir.Value, half: int) -> ir.Value:
    size = v.LANES // 2
    lanes = ir.Constant(ir.VectorType(v.INT32, size), list(range(half * size, (half + 1) * size)))
    return b.shuffle_vector(value, value, lanes)


def _vpdpbusd(b: ir.IRBuilder, bits: int, *args: ir.Value) -> ir.Value:
    """LLVM names the 256-bit one after AVX-512 also where it becomes that of AVX-VNNI."""
    name = f"llvm.x86.avx512.vpdpbusd.{bits}"
    function = b.module.globals.get(name)
    if function is None:
        kinds = [arg.type for arg in args]
        function = ir.Function(b.module, ir.FunctionType(kinds[0], kinds), name)
    return b.call(function, args)
