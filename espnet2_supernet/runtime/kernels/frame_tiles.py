"""Inner loops of a chunk's products: a tile of rows x 16 frames, held in vector registers.

Activations lie frame beside frame: the 16 frames of an input are one vector, which a turn
multiplies with one broadcast weight per row of the tile. When a panel has 8 frames or less, tiles
of 16 rows are turned round: the weights of a column are the vector, multiplied with one broadcast
input per frame, so that no lane computes what nobody wants.

int8 (``u8 x s8``): a word holds four inputs of one frame as unsigned bytes, or four weights as
signed ones. ``vpdpbusd`` (AVX-512 VNNI, AVX-VNNI) multiplies and adds them up in one instruction.
Elsewhere several of 32 bits do the same, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vector_math as m
from espnet2_supernet.runtime.kernels import vectors as v
from espnet2_supernet.runtime.kernels.vectors import WORD

WIDE = v.cpu_has("avx512f")
VNNI = "512" if v.cpu_has("avx512vnni") else "256" if v.cpu_has("avxvnni") else ""
REGISTER_ROWS = 16 if WIDE else 4  # rows whose sums fit in the registers
AHEAD = 128 * v.LANES  # words that weights are fetched ahead: 8 KB, time enough for main memory

HEIGHTS = (16, 8, 4, 2, 1)  # rows of a tile
PAIRED = 8  # height of tiles with an even number of words in every row
NARROW = (4, 8)  # frames of panels whose tiles are turned round
TURNED = 100  # added to those frames, it is the case of such a tile

Emit = Callable[..., ir.Value]


@v.intrinsic
def float_tile(typingctx, words, place, columns, first, count, height, x, origin, frames, sums):
    """Products of the kept weights of a tile with 16 frames: ``sums`` (height, 16).

    Args:
        typingctx: numba's.
        words: Weights, float32.
        place: Place of the tile in ``words``: ``height`` weights for every kept column.
        columns: Kept columns, uint16.
        first: Place of the tile in ``columns``.
        count: Number of its kept columns, at least 1.
        height: Its rows: 1, 2, 4, 8 or 16; with 8 ``count`` is even.
        x: Inputs (columns, 16), float32.
        origin: Place of the first input in ``x``.
        frames: Frames that matter.
        sums: Result, float32.
    """
    args = (words, place, columns, first, count, height, x, origin, frames, sums)
    return v.procedure(_indexed(v.VECTOR, m.multiply_add), args)


@v.intrinsic
def int8_tile(typingctx, words, place, columns, first, count, height, x, origin, frames, sums):
    """Like ``float_tile`` with four inputs to a word: ``words``, ``x`` and ``sums`` are int32."""
    args = (words, place, columns, first, count, height, x, origin, frames, sums)
    return v.procedure(_indexed(m.INTS, _dot), args)


@v.intrinsic
def dense_tile(typingctx, words, place, count, x, origin, frames, sums):
    """Like ``float_tile`` with 16 rows when all columns are kept."""

    def emit(b, words, place, count, x, origin, frames, sums):
        words, x = v.at(b, words, place), v.at(b, x, origin)

        def address(i: ir.Value) -> tuple[ir.Value, ir.Value]:
            offset = b.mul(i, v.integer(v.LANES))
            m.prefetch(b, words, b.add(offset, v.integer(AHEAD)))
            return offset, offset

        tile = _Tile(b, v.VECTOR, m.multiply_add, words, x, address, count, sums)
        tile.emit(v.integer(v.LANES), frames, (v.LANES,))

    return v.procedure(emit, (words, place, count, x, origin, frames, sums))


def _indexed(kind: ir.VectorType, multiply: Emit) -> Callable[..., None]:
    def emit(b, words, place, columns, first, count, height, x, origin, frames, sums):
        columns, words, x = v.at(b, columns, first), v.at(b, words, place), v.at(b, x, origin)

        def address(i: ir.Value) -> tuple[ir.Value, ir.Value]:
            column = b.zext(b.load(v.at(b, columns, i)), v.INT)
            offset = b.mul(i, height)
            m.prefetch(b, words, b.add(offset, v.integer(AHEAD)))
            return offset, b.mul(column, v.integer(v.LANES))

        _Tile(b, kind, multiply, words, x, address, count, sums).emit(height, frames, HEIGHTS)

    return emit


@dataclass
class _Tile:
    """Emits the loops over the kept columns of a tile.

    Attributes:
        b: Where to.
        kind: Vector of words.
        multiply: ``inputs * weights + total``.
        words: First weight.
        x: First input.
        address: Offsets of the weights and of the input of a kept column.
        count: Number of kept columns.
        sums: Where the result goes.
    """

    b: ir.IRBuilder
    kind: ir.VectorType
    multiply: Emit
    words: ir.Value
    x: ir.Value
    address: Callable[[ir.Value], tuple[ir.Value, ir.Value]]
    count: ir.Value
    sums: ir.Value

    def emit(self, height: ir.Value, frames: ir.Value, heights: tuple[int, ...]) -> None:
        """Emit code for some heights, and for few frames, and the choice between them."""
        b, case = self.b, height
        for few in reversed(NARROW):
            turned = b.and_(
                b.icmp_signed("==", height, v.integer(v.LANES)),
                b.icmp_signed("<=", frames, v.integer(few)),
            )
            case = b.select(turned, v.integer(TURNED + few), case)
        m.switch_on(b, case, (*heights, *(TURNED + few for few in NARROW)), self._case)

    def _case(self, case: int) -> None:
        if case > TURNED:
            self._few_frames(case - TURNED)
            return
        for top in range(0, case, REGISTER_ROWS):
            if case == PAIRED and PAIRED < REGISTER_ROWS:
                self._pairs(case)
            else:
                self._rows(top, min(REGISTER_ROWS, case - top))

    def _zeros(self, size: int) -> list[ir.Value]:
        return [v.zeros() if self.kind == v.VECTOR else m.int_constant(0)] * size

    def _products(self, i: ir.Value, top: int, totals: list[ir.Value]) -> list[ir.Value]:
        """Add the products of one column with rows from ``top`` on."""
        b = self.b
        offset, column = self.address(i)
        inputs = load(b, self.kind, self.x, column)
        place = v.at(b, self.words, b.add(offset, v.integer(top)))
        return [
            self.multiply(b, inputs, m.splat(b, b.load(v.at(b, place, v.integer(r)))), total)
            for r, total in enumerate(totals)
        ]

    def _store(self, top: int, totals: list[ir.Value]) -> None:
        for r, total in enumerate(totals):
            store(self.b, total, self.sums, v.integer((top + r) * v.LANES))

    def _rows(self, top: int, size: int) -> None:
        def turn(i, totals):
            return self._products(i, top, totals)

        self._store(top, v.loop(self.b, self.count, 1, self._zeros(size), turn))

    def _pairs(self, size: int) -> None:
        """Two columns at a time with sums of their own: one would wait for the other."""

        def turn(i, totals):
            even = self._products(i, 0, totals[:size])
            return even + self._products(self.b.add(i, v.integer(1)), 0, totals[size:])

        totals = v.loop(self.b, self.count, 2, self._zeros(2 * size), turn)
        add = self.b.fadd if self.kind == v.VECTOR else self.b.add
        pairs = zip(totals[:size], totals[size:], strict=True)
        self._store(0, [add(one, other) for one, other in pairs])

    def _few_frames(self, frames: int) -> None:
        b, found = self.b, []
        for first in range(0, frames, REGISTER_ROWS):
            size = min(REGISTER_ROWS, frames - first)

            def turn(i, totals, first=first):
                offset, column = self.address(i)
                weights = load(b, self.kind, self.words, offset)
                place = v.at(b, self.x, b.add(column, v.integer(first)))
                return [
                    self.multiply(
                        b, m.splat(b, b.load(v.at(b, place, v.integer(t)))), weights, total
                    )
                    for t, total in enumerate(totals)
                ]

            found += v.loop(b, self.count, 1, self._zeros(size), turn)
        self._store(0, v.transpose(b, [*found, *self._zeros(v.LANES - frames)]))


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
