"""The blocks of an encoder over one chunk, as one compiled function.

An encoder is a table of operations over the panels of a chunk: one compiled function works
through it, so that Python is called once for a chunk, and every kernel is compiled once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.chunk import attention as attention
from espnet2_supernet.runtime.chunk.convolution import convolve, recall
from espnet2_supernet.runtime.chunk.kept import find_kept
from espnet2_supernet.runtime.chunk.products import multiply, quantize
from espnet2_supernet.runtime.chunk.room import PANEL, PLACE
from espnet2_supernet.runtime.kernels.caching import kernel
from espnet2_supernet.runtime.kernels.frame_layers import layer_norm
from espnet2_supernet.runtime.kernels.frame_threads import wait_for
from espnet2_supernet.runtime.kernels.layout_tiles import transpose_tile
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray

# Spots of a chunk; QUERY, KEY and VALUE also hold what the convolution needs.
X, Y, QUERY, KEY, VALUE, INNER, WINDOW = range(7)

# Operations and their arguments.
NORM = 0  # source, target, place of the scale, place of the bias, SiLU or not, size
QUANTIZE = 1  # source, size
MULTIPLY = 2  # source, target, operand, matrix, what becomes of the sums
KEEP = 3  # block, heads, sizes of a key and of a value: rotate QUERY and KEY, keep KEY and VALUE
ATTEND = 4  # block, target, heads, sizes of a key and of a value
RECALL = 5  # block, channels
CONVOLVE = 6  # block, target, place of the kernels, place of their bias, channels
FIELDS = 7


class Memory(NamedTuple):
    """What a stream remembers between chunks, for every block.

    Attributes:
        keys: float32 (blocks, H * d * slots), see ``attention``; H and C of the widest block.
        values: float32 (blocks, H * padded(d) * slots).
        windows: Gated frames before the chunk, float32 (blocks, C * reach padded).
    """

    keys: Array
    values: Array
    windows: Array


@kernel
def encode(
    part, parts, sync, frames, chunk, shape, taps, program, weights, angles, memory, room, out
):
    """Run a program over one chunk, together with the threads that have the other parts.

    Args:
        part: Number of this thread.
        parts: Threads.
        sync: Counter of the threads, int64 (1,), 0.
        frames: Chunk and right context, zeros behind, float32 (panels * 16 * width,).
        chunk: ``Chunk``: which frames these are.
        shape: ``Shape`` of the attention.
        taps: Width of the depthwise kernels.
        program: Operations, int64 (operations, 7).
        weights: ``Weights``.
        angles: ``Angles``.
        memory: ``Memory``.
        room: ``Room``.
        out: Result (panels * 16 * width,).
    """
    if part == 0:
        attention.find_angles(shape, angles, chunk)
        if len(chunk.times) > 0:
            find_kept(shape, chunk, room.hidden)
        else:
            attention.find_hidden(shape, chunk.past, chunk.exist, room.hidden)
        _turn_in(shape, frames, room)
    goal = parts
    if parts > 1:
        wait_for(sync, goal)
    for i in range(len(program)):
        _operate(part, parts, chunk, shape, taps, program[i], weights, angles, memory, room)
        if parts > 1:
            goal += parts
            wait_for(sync, goal)
    if part == 0:
        _turn_out(shape, room, out)


@kernel
def _operate(part, parts, chunk, shape, taps, op, weights, angles, memory, room):
    """This part of one operation; arguments as above."""
    kind, one, two, exist = op[0], op[1], op[2], chunk.exist
    if kind == NORM:
        _norm(part, parts, shape, weights, room, op)
    elif kind == QUANTIZE:
        quantize(part, parts, room, one, two)
    elif kind == MULTIPLY:
        multiply(part, parts, weights, op[4], room, exist, op[5], one, op[3], two)
    elif kind == KEEP:
        keys, values, pairs = memory.keys[one], memory.values[one], angles.pairs[one]
        attention.rotate(part, parts, shape, two, op[3], pairs, room, QUERY, angles.query)
        attention.rotate(part, parts, shape, two, op[3], pairs, room, KEY, angles.key)
        attention.keep_keys(part, parts, shape, two, op[3], chunk, room, KEY, keys)
        attention.keep_values(part, parts, shape, two, op[4], chunk, room, VALUE, values)
    elif kind == ATTEND:
        keys, values = memory.keys[one], memory.values[one]
        attention.attend(part, parts, shape, op[3:], exist, room, QUERY, keys, values, two)
    elif kind == RECALL:
        recall(part, parts, two, taps, room, WINDOW, memory.windows[one])
    elif kind == CONVOLVE:
        before, places = memory.windows[one], op[3:]
        convolve(part, parts, op[5], taps, chunk.own, weights, places, room, WINDOW, two, before)


@kernel
def _norm(part, parts, shape, weights, room, op):
    x, out = room.spots[op[1]], room.spots[op[2]]
    for p in range(shape.panels * part // parts, shape.panels * (part + 1) // parts):
        layer_norm(
            room.data,
            x[PLACE] + p * x[PANEL],
            op[6],
            weights.floats,
            op[3],
            op[4],
            op[5],
            room.data,
            out[PLACE] + p * out[PANEL],
        )


@kernel
def _turn_in(shape, frames, room):
    spot = room.spots[X]
    for p in range(shape.panels):
        for f in range(0, shape.width, LANES):
            origin, place = p * LANES * shape.width + f, spot[PLACE] + p * spot[PANEL] + f * LANES
            transpose_tile(frames, origin, shape.width, room.data, place, LANES)


@kernel
def _turn_out(shape, room, out):
    spot = room.spots[Y]
    for p in range(shape.panels):
        for f in range(0, shape.width, LANES):
            place, target = spot[PLACE] + p * spot[PANEL] + f * LANES, p * LANES * shape.width + f
            transpose_tile(room.data, place, LANES, out, target, shape.width)
