"""Arithmetic on explicit vectors beyond ``vectors``: for every CPU, not only those with FMA."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llvmlite import ir

from espnet2_supernet.runtime.kernels import vectors as v

INTS = ir.VectorType(v.INT32, v.LANES)
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693359375  # few bits: its multiples are exact
_LN2_LOW = -2.12194440054690583e-4
_ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds a float32 to a whole number


def constant(value: float) -> ir.Constant:
    """Return a vector of one number."""
    return ir.Constant(v.VECTOR, [float(value)] * v.LANES)


def int_constant(value: int) -> ir.Constant:
    """Return a vector of one whole number."""
    return ir.Constant(INTS, [value] * v.LANES)


def splat(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Put a scalar in all places."""
    kind = ir.VectorType(value.type, v.LANES)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, v.INT32(0))
    return v.shuffle(b, one, one, [0] * v.LANES)


def multiply_add(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """Return ``x * y + z``, rounded once where the CPU can do that in one instruction."""
    return _call(b, "llvm.fmuladd.v16f32", v.VECTOR, x, y, z)


def maximum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the larger, or what is not a number if there is one."""
    return _call(b, "llvm.maximum.v16f32", v.VECTOR, x, y)


def magnitude(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return ``|x|``."""
    return _call(b, "llvm.fabs.v16f32", v.VECTOR, x)


def square_root(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return the square root."""
    return _call(b, "llvm.sqrt.v16f32", v.VECTOR, x)


def exp(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return ``e^x`` to about 2 units in the last place; 0 below -87, e^88 above 88.

    ``2^n e^r`` with whole n and |r| <= ln 2 / 2, where seven terms of the series are enough.
    """
    small = b.fcmp_ordered("<", x, constant(-87.0))
    x = b.select(small, constant(-87.0), x)
    x = b.select(b.fcmp_ordered(">", x, constant(88.0)), constant(88.0), x)
    shifted = multiply_add(b, x, constant(_LOG2_E), constant(_ROUND))
    whole = b.fsub(shifted, constant(_ROUND))
    rest = multiply_add(b, whole, constant(-_LN2_HIGH), x)
    rest = multiply_add(b, whole, constant(-_LN2_LOW), rest)
    series = constant(1 / 720)
    for divisor in (120, 24, 6, 2, 1, 1):
        series = multiply_add(b, series, rest, constant(1 / divisor))
    exponent = b.add(b.bitcast(shifted, INTS), int_constant(127 - _bits(_ROUND)))
    power = b.bitcast(b.shl(exponent, int_constant(23)), v.VECTOR)
    return b.select(small, v.zeros(), b.fmul(series, power))


def reciprocal(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return ``1 / x`` for x of at least 1, to about 1 unit in the last place.

    AVX-512 estimates 14 bits, which one step of Newton's method doubles, in less time than a
    division takes.
    """
    if not v.cpu_has("avx512f"):
        return b.fdiv(constant(1.0), x)
    all_lanes = ir.Constant(ir.IntType(16), -1)
    guess = _call(b, "llvm.x86.avx512.rcp14.ps.512", v.VECTOR, x, v.zeros(), all_lanes)
    error = multiply_add(b, b.fneg(x), guess, constant(1.0))
    return multiply_add(b, guess, error, guess)


def sigmoid(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return ``1 / (1 + e^-x)``."""
    return reciprocal(b, b.fadd(constant(1.0), exp(b, b.fneg(x))))


def silu(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return ``x / (1 + e^-x)``."""
    return b.fmul(x, sigmoid(b, x))


def lanes_below(b: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """Return which places have a number below ``count`` (64 bits)."""
    numbers = ir.Constant(INTS, list(range(v.LANES)))
    return b.icmp_signed("<", numbers, splat(b, b.trunc(count, v.INT32)))


def switch_on(
    b: ir.IRBuilder, value: ir.Value, cases: Iterable[int], emit: Callable[[int], None]
) -> None:
    """Emit code for every case and the jump to the one wanted; none for other values."""
    done = b.append_basic_block("chosen")
    jump, blocks = b.block, []
    for case in cases:
        blocks.append((case, b.append_basic_block(f"case{case}")))
        b.position_at_end(blocks[-1][1])
        emit(case)
        b.branch(done)
    b.position_at_end(jump)
    switch = b.switch(value, done)
    for case, block in blocks:
        switch.add_case(v.integer(case), block)
    b.position_at_end(done)


def prefetch(b: ir.IRBuilder, pointer: ir.Value, offset: ir.Value) -> None:
    """Ask for the cache line of ``pointer + offset`` for reading, wherever that is."""
    place = b.bitcast(b.gep(pointer, [offset]), ir.IntType(8).as_pointer())
    _call(b, "llvm.prefetch.p0", ir.VoidType(), place, v.INT32(0), v.INT32(3), v.INT32(1))


def _call(b: ir.IRBuilder, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
    function = b.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(result, [arg.type for arg in args])
        function = ir.Function(b.module, kind, name)
    return b.call(function, args)


def _bits(value: float) -> int:
    """The bits of a float32."""
    import struct

    return int(struct.unpack("<i", struct.pack("<f", value))[0])
