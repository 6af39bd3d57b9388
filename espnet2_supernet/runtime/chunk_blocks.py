"""The blocks of an encoder over one chunk, as one compiled function.

Every block is normalisation, products and attention in turn over panels of frames that stay in
the nearest caches; the residual stream is updated in place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime import chunk_attention as attention
from espnet2_supernet.runtime.chunk_products import Bytes, Panels, multiply, quantize
from espnet2_supernet.runtime.frame_layers import convolve_row, layer_norm
from espnet2_supernet.runtime.frame_results import ADD, GATE, SIGMOID, SILU, STORE
from espnet2_supernet.runtime.kernels import kernel
from espnet2_supernet.runtime.layout_tiles import transpose_tile
from espnet2_supernet.runtime.vectors import LANES

Array = np.ndarray

# Matrices of a block, in order of use; a transformer has no macaron and no convolution.
MACARON_IN, MACARON_OUT, QUERY, KEY, VALUE, OUT = range(6)
CONV_GATE, CONV_VALUE, CONV_OUT, UNITS_IN, UNITS_OUT = range(6, 11)
MATRICES = 11

# Norms of a block: places of scale and bias.
NORM_MACARON, NORM_ATTENTION, NORM_CONV, NORM_DEPTHWISE, NORM_UNITS, NORM_OUT = range(6)
NORMS = 6


class Plan(NamedTuple):
    """What does not change from chunk to chunk.

    Attributes:
        shape: Sizes of the attention.
        blocks: Number of blocks.
        conformer: Whether blocks have a macaron and a convolution.
        int8: Whether the weights of all matrices are int8.
        units: Inner size of the feed-forward modules, padded to a multiple of 16.
        kernel: Width of the depthwise kernel.
        span: Frames of a row of the convolution's window.
    """

    shape: attention.Shape
    blocks: int
    conformer: bool
    int8: bool
    units: int
    kernel: int
    span: int


class Places(NamedTuple):
    """Where the arena has weights that are no matrices; places count float32 numbers.

    Attributes:
        norms: Scale and bias, int64 (blocks, 6, 2).
        depthwise: Kernels and bias, int64 (blocks, 2).
        final: Scale and bias of the norm after the last block, int64 (2,).
    """

    norms: Array
    depthwise: Array
    final: Array


class Memory(NamedTuple):
    """What a stream remembers between chunks, for every block.

    Attributes:
        keys: float32 (blocks, D * slots).
        values: float32 (blocks, slots * width).
        windows: Gated frames before and within the chunk, float32 (blocks, D * span).
    """

    keys: Array
    values: Array
    windows: Array


class Room(NamedTuple):
    """Where a chunk is computed.

    Attributes:
        x: Residual stream.
        y: Normalised frames.
        query: Queries.
        key: Keys.
        value: Values.
        hidden: Inner frames of the feed-forward modules.
        quantised: Input of int8 matrices.
        seen: See ``find_hidden``.
        scores: Scores of 16 queries.
        sums: Sums of a tile.
    """

    x: Panels
    y: Panels
    query: Panels
    key: Panels
    value: Panels
    hidden: Panels
    quantised: Bytes
    seen: Array
    scores: Array
    sums: Array


@kernel
def encode(frames, exist, past, plan, weights, places, angles, memory, room, out):
    """Run all blocks over one chunk.

    Args:
        frames: Chunk and right context, zeros behind, float32 (panels * 16 * width,).
        exist: Frames that exist.
        past: Frames of the stream before the chunk, a multiple of C.
        plan: ``Plan``.
        weights: ``Weights``.
        places: ``Places``.
        angles: ``Angles``.
        memory: ``Memory``.
        room: ``Room``.
        out: Result (panels * 16 * width,).
    """
    shape = plan.shape
    attention.find_angles(shape, angles, past)
    attention.find_hidden(shape, past, exist, room.seen)
    _turn_in(shape, frames, room.x)
    for block in range(plan.blocks):
        if plan.conformer:
            _feed_forward(block, MACARON_IN, NORM_MACARON, exist, plan, weights, places, room)
        _attention(block, exist, past, plan, weights, places, angles, memory, room)
        if plan.conformer:
            _convolution(block, exist, plan, weights, places, memory, room)
        _feed_forward(block, UNITS_IN, NORM_UNITS, exist, plan, weights, places, room)
        if plan.conformer:
            _norm(plan, weights, places.norms[block, NORM_OUT], room.x, 0, room.x)
    _norm(plan, weights, places.final, room.x, 0, room.y)
    _turn_out(shape, room.y, out)


@kernel
def _turn_in(shape, frames, x):
    for p in range(shape.panels):
        for f in range(0, shape.width, LANES):
            origin = p * LANES * shape.width + f
            transpose_tile(frames, origin, shape.width, x.data, p * x.size + f * LANES, LANES)


@kernel
def _turn_out(shape, x, out):
    for p in range(shape.panels):
        for f in range(0, shape.width, LANES):
            target = p * LANES * shape.width + f
            transpose_tile(x.data, p * x.size + f * LANES, LANES, out, target, shape.width)


@kernel
def _norm(plan, weights, place, x, silu, out):
    for p in range(plan.shape.panels):
        origin, target = p * x.size, p * out.size
        floats = weights.floats
        layer_norm(
            x.data, origin, plan.shape.size, floats, place[0], place[1], silu, out.data, target
        )


@kernel
def _product(number, mode, exist, plan, weights, room, x, operand, out):
    multiply(
        0,
        1,
        weights,
        number,
        x,
        room.quantised,
        plan.shape.panels,
        exist,
        mode,
        operand,
        out,
        room.sums,
    )


@kernel
def _quantize(plan, x, rows, room):
    if plan.int8:
        quantize(0, 1, x, rows, plan.shape.panels, room.quantised)


@kernel
def _feed_forward(block, matrix, norm, exist, plan, weights, places, room):
    number, x, y, hidden = block * MATRICES + matrix, room.x, room.y, room.hidden
    _norm(plan, weights, places.norms[block, norm], x, 0, y)
    _quantize(plan, y, plan.shape.width, room)
    _product(number, SILU, exist, plan, weights, room, y, y, hidden)
    _quantize(plan, hidden, plan.units, room)
    _product(number + 1, ADD, exist, plan, weights, room, hidden, x, x)


@kernel
def _attention(block, exist, past, plan, weights, places, angles, memory, room):
    number, shape, x, y = block * MATRICES, plan.shape, room.x, room.y
    keys, values = memory.keys[block], memory.values[block]
    _norm(plan, weights, places.norms[block, NORM_ATTENTION], x, 0, y)
    _quantize(plan, y, shape.width, room)
    _product(number + QUERY, STORE, exist, plan, weights, room, y, y, room.query)
    _product(number + KEY, STORE, exist, plan, weights, room, y, y, room.key)
    _product(number + VALUE, STORE, exist, plan, weights, room, y, y, room.value)
    attention.rotate(0, 1, shape, room.query, angles.query)
    attention.rotate(0, 1, shape, room.key, angles.key)
    attention.keep_keys(0, 1, shape, past, room.key, keys)
    sums = room.sums.view(np.float32)
    attention.keep_values(0, 1, shape, past, room.value, values, sums)
    attention.attend(0, 1, shape, room.query, keys, values, room.seen, room.scores, sums, y)
    _quantize(plan, y, shape.width, room)
    _product(number + OUT, ADD, exist, plan, weights, room, y, x, x)


@kernel
def _convolution(block, exist, plan, weights, places, memory, room):
    number, shape, x, y = block * MATRICES, plan.shape, room.x, room.y
    reach = plan.kernel // 2
    window = Panels(memory.windows[block], LANES, plan.span, reach)
    _norm(plan, weights, places.norms[block, NORM_CONV], x, 0, y)
    _quantize(plan, y, shape.width, room)
    _product(number + CONV_GATE, SIGMOID, exist, plan, weights, room, y, y, room.query)
    _product(number + CONV_VALUE, GATE, exist, plan, weights, room, y, room.query, window)
    taps, bias = places.depthwise[block]
    for f in range(shape.size):
        origin = f * plan.span
        for p in range(shape.panels):
            convolve_row(
                window.data,
                origin + p * LANES,
                weights.floats,
                taps + f * plan.kernel,
                plan.kernel,
                bias + f,
                y.data,
                p * y.size + f * LANES,
            )
        for t in range(reach):  # what the next chunk calls the past
            window.data[origin + t] = window.data[origin + t + shape.chunk]
    _norm(plan, weights, places.norms[block, NORM_DEPTHWISE], y, 1, y)
    _quantize(plan, y, shape.width, room)
    _product(number + CONV_OUT, ADD, exist, plan, weights, room, y, x, x)
