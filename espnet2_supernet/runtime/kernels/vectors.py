"""Explicit vectors of 16 float32 for numba, as LLVM instructions.

numba's vectoriser does not find the loops of block-sparse products, so the inner loops are
written in LLVM's own language (``numba.extending.intrinsic``). A vector of 16 is one register of
AVX-512 and two of AVX2; LLVM splits it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic as numba_intrinsic

LANES = 16
WORD = 4  # bytes of a float32, and int8 inputs that a lane multiplies at a time
LINE = 64  # bytes of a cache line
FLOAT = ir.FloatType()
INT = ir.IntType(64)
INT32 = ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)

Values = Sequence[ir.Value]
intrinsic: Any = numba_intrinsic  # mypy would count the typing context as an argument


def cpu_has(*features: str) -> bool:
    """Whether numba compiles for a CPU with all of these features, by LLVM's names.

    ``NUMBA_CPU_FEATURES`` counts more than the CPU at hand, as it does for numba.
    """
    wanted: str | None = vars(config)["CPU_FEATURES"]
    if wanted is not None:
        return all(f"+{name}" in wanted.split(",") for name in features)
    try:
        host = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell here; numba then uses no feature, either
        return False
    return all(host.get(name, False) for name in features)


def procedure(emit: Callable[..., None], kinds: tuple[Any, ...]) -> Any:
    """Signature and code generator of an intrinsic without result."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        emit(builder, *_pointers(context, builder, signature, args))
        return context.get_dummy_value()

    kinds = tuple(types.int64 if isinstance(kind, types.Integer) else kind for kind in kinds)
    return types.void(*kinds), codegen


def at(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value) -> ir.Value:
    """Return ``pointer + offset``, counted in elements."""
    return builder.gep(pointer, [offset], inbounds=True)


def integer(value: int) -> ir.Constant:
    """Return a 64-bit constant."""
    return ir.Constant(INT, value)


def zeros() -> ir.Constant:
    """Return a vector of zeros."""
    return ir.Constant(VECTOR, [0.0] * LANES)


def load(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
    """Load 16 numbers from ``pointer + offset``, at any alignment of whole numbers."""
    return builder.load(_vector_pointer(builder, pointer, offset), align=4)


def store(
    builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, offset: ir.Value | int
) -> None:
    """Store 16 numbers at ``pointer + offset``."""
    builder.store(value, _vector_pointer(builder, pointer, offset), align=4)


def load_scalar(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
    """Load one element; int32 is widened to 64 bits."""
    value = builder.load(builder.gep(pointer, [_index(offset)], inbounds=True))
    return builder.sext(value, INT) if value.type == INT32 else value


def load_broadcast(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
    """Load one number into all 16 places."""
    one = builder.insert_element(
        ir.Constant(VECTOR, ir.Undefined), load_scalar(builder, pointer, offset), INT32(0)
    )
    return shuffle(builder, one, one, [0] * LANES)


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> None:
    """Ask for the cache line of ``pointer + offset``, wherever that is: this never fails.

    It is asked for writing, which reading does not mind on the one core that has it.
    """
    name = "llvm.prefetch.p0"
    function = builder.module.globals.get(name)
    place = builder.bitcast(builder.gep(pointer, [_index(offset)]), ir.PointerType())
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
        function = ir.Function(builder.module, kind, name)
    builder.call(function, [place, INT32(1), INT32(2), INT32(1)])


def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return ``a * b + c``, rounded once."""
    function = builder.module.globals.get("llvm.fma.v16f32")
    if function is None:
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        function = ir.Function(builder.module, kind, "llvm.fma.v16f32")
    return builder.call(function, [a, b, c])


def shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """Pick lanes of ``a`` (0 to 15) and ``b`` (16 to 31)."""
    mask = ir.Constant(ir.VectorType(INT32, LANES), list(lanes))
    return builder.shuffle_vector(a, b, mask)


def transpose(builder: ir.IRBuilder, rows: Values) -> list[ir.Value]:
    """Transpose 16 vectors of 16: four rounds that swap the off-diagonal halves of blocks."""
    rows = list(rows)
    for size in (8, 4, 2, 1):
        upper = [lane if not lane & size else lane - size + LANES for lane in range(LANES)]
        lower = [lane + size if not lane & size else lane + LANES for lane in range(LANES)]
        for i in (i for i in range(LANES) if not i & size):
            a, b = rows[i], rows[i + size]
            rows[i] = shuffle(builder, a, b, upper)
            rows[i + size] = shuffle(builder, a, b, lower)
    return rows


def loop(
    builder: ir.IRBuilder,
    count: ir.Value,
    step: int,
    state: Values,
    body: Callable[[ir.Value, list[ir.Value]], Values],
) -> list[ir.Value]:
    """Emit ``for i in range(0, count, step): state = body(i, state)``; state lives in registers.

    Args:
        builder: Where to emit; left after the loop.
        count: End of the range, 64 bits, at least 1.
        step: Step of the range.
        state: Values before the loop.
        body: Emits one turn and returns the new values.

    Returns:
        The values after the last turn.
    """
    before = builder.block
    inside, after = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(inside)
    builder.position_at_end(inside)
    index = builder.phi(INT)
    index.add_incoming(integer(0), before)
    carried = []
    for value in state:
        carried.append(builder.phi(value.type))
        carried[-1].add_incoming(value, before)
    new = body(index, carried)
    following = builder.add(index, integer(step))
    for phi, value in zip([index, *carried], [following, *new], strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
    builder.position_at_end(after)
    return list(new)


def _pointers(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> list[ir.Value]:
    """Data pointers of the arrays among the arguments, the other arguments as they are."""
    values = []
    for kind, arg in zip(signature.args, args, strict=True):
        if isinstance(kind, types.Array):
            arg = cgutils.create_struct_proxy(kind)(context, builder, arg).data
        values.append(arg)
    return values


def _index(offset: ir.Value | int) -> ir.Value:
    return integer(offset) if isinstance(offset, int) else offset


def _vector_pointer(builder: ir.IRBuilder, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
    place = builder.gep(pointer, [_index(offset)], inbounds=True)
    return builder.bitcast(place, VECTOR.as_pointer())
