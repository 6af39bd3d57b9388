"""How threads that share a chunk wait for each other."""

from __future__ import annotations

import os

from llvmlite import ir
from numba import types

from espnet2_supernet.runtime.kernels import vectors as v

_PATIENCE = 2000  # looks at the counter before the processor is offered to others
_YIELD = "sched_yield" if os.name == "posix" else "SwitchToThread"


@v.intrinsic
def wait_for(typingctx, counter, goal):
    """Count this thread in and wait until ``counter[0]``, int64, has come to ``goal``."""
    return types.void(counter, types.int64), _codegen


def _codegen(context, b, signature, args):
    (pointer, goal) = v._pointers(context, b, signature, args)
    b.atomic_rmw("add", pointer, v.integer(1), "acq_rel")
    look, again, rest = (b.append_basic_block(name) for name in ("look", "again", "rest"))
    done = b.append_basic_block("met")
    before = b.block
    b.branch(look)
    b.position_at_end(look)
    turns = b.phi(v.INT)
    turns.add_incoming(v.integer(0), before)
    met = b.icmp_signed(">=", b.load_atomic(pointer, "acquire", 8), goal)
    b.cbranch(met, done, again)
    b.position_at_end(again)
    more = b.add(turns, v.integer(1))
    turns.add_incoming(more, again)
    b.cbranch(b.icmp_signed("<", more, v.integer(_PATIENCE)), look, rest)
    b.position_at_end(rest)
    name = _YIELD
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(v.INT32, []), name)
    b.call(function, [])
    turns.add_incoming(v.integer(0), rest)
    b.branch(look)
    b.position_at_end(done)
    return context.get_dummy_value()
