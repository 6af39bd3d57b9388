"""Attention of a chunk over the frames before it, whose keys and values are kept in a ring.

The ring holds whole chunks, so that a new one overwrites frames that nobody may see any more. The
copies of the right context have slots of their own behind it. Keys and values lie in the order in
which they are read: both are dense weights of 16 rows. Per head, keys are (slots / 16, d, 16) and
values (d / 16, slots, 16), where d is padded to a multiple of 16.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.chunk.room import HIDDEN, PANEL, PLACE
from espnet2_supernet.runtime.kernels.caching import kernel
from espnet2_supernet.runtime.kernels.frame_layers import rotate_pair, scale_rows, softmax
from espnet2_supernet.runtime.kernels.frame_tiles import dense_tile
from espnet2_supernet.runtime.kernels.layout_tiles import copy_vector, transpose_tile
from espnet2_supernet.runtime.kernels.memory import padded
from espnet2_supernet.runtime.kernels.vectors import LANES

Array = np.ndarray


class Shape(NamedTuple):
    """Sizes of the attention, all blocks alike; they may differ in heads and what these have left.

    Attributes:
        width: Model dimension D padded to a multiple of 16.
        head: Size d of a whole head.
        chunk: Frames C of a chunk.
        left: Frames L before it that are seen.
        right: Frames R after it.
        ring: Slots of the ring, a multiple of C.
        slots: Those and R more, padded to a multiple of 16.
        panels: Panels of C + R frames.
    """

    width: int
    head: int
    chunk: int
    left: int
    right: int
    ring: int
    slots: int
    panels: int


class Chunk(NamedTuple):
    """Which frames the panels hold.

    Attributes:
        past: Frames of the stream before the chunk, a multiple of C.
        exist: Frames that exist: the chunk's own, then copies of its right context.
        own: Places of its own frames: C, or as many as were kept.
        span: Places of these and of the copies: C + R, or as many as were kept.
        first: Position in the stream from which ``offsets`` count.
        offsets: Position of the frame in every place, int64 (P,).
        times: Frame numbers of what the ring's slots hold, int64 (ring,), see ``kept``; empty
            where no frame is ever dropped.
    """

    past: int
    exist: int
    own: int
    span: int
    first: int
    offsets: Array
    times: Array


class Angles(NamedTuple):
    """Rotary tables.

    Attributes:
        frequencies: Radians per frame, float64 (d / 2,).
        steps: Cosines and sines of the frames of a chunk from its first, float64 (2, d / 2, P),
            P = 16 * panels.
        query: Cosines and sines of the chunk times the scale of scores, float32 (2, d / 2 * P).
        key: The same without the scale.
        pairs: Which of the d / 2 pairs of a whole head those of a block's heads are, int64
            (blocks, d / 2); only as many count as there are.
    """

    frequencies: Array
    steps: Array
    query: Array
    key: Array
    pairs: Array


@kernel
def find_angles(shape, angles, chunk):
    """Fill the tables for the positions of a chunk's frames."""
    half, frames = angles.steps.shape[1], shape.panels * LANES
    scale = 1.0 / math.sqrt(2.0 * half)
    for i in range(half):
        start = angles.frequencies[i] * chunk.first
        cos, sin = math.cos(start), math.sin(start)
        for t in range(frames):
            step = chunk.offsets[t]
            step_cos, step_sin = angles.steps[0, i, step], angles.steps[1, i, step]
            angle_cos, angle_sin = cos * step_cos - sin * step_sin, sin * step_cos + cos * step_sin
            place = i * frames + t
            angles.key[0, place], angles.key[1, place] = angle_cos, angle_sin
            angles.query[0, place], angles.query[1, place] = angle_cos * scale, angle_sin * scale


@kernel
def find_hidden(shape, past, frames, hidden):
    """Tell for every slot whether the chunk may see it: 0 or ``HIDDEN``.

    Args:
        shape: ``Shape``.
        past: Frames before the chunk, a multiple of C.
        frames: Frames that exist of the chunk and its right context.
        hidden: Result (slots,).
    """
    hidden[:] = HIDDEN
    now = past // shape.chunk
    chunks = shape.ring // shape.chunk
    for slot in range(shape.ring):
        chunk = now - (now - slot // shape.chunk) % chunks  # the last one written there
        frame = slot % shape.chunk
        position = chunk * shape.chunk + frame
        own = chunk == now and frame < frames
        if own or (chunk >= 0 and past - shape.left <= position < past):
            hidden[slot] = 0.0
    for e in range(shape.right):
        if shape.chunk + e < frames:
            hidden[shape.ring + e] = 0.0


@kernel
def rotate(part, parts, shape, heads, size, pairs, room, source, table):
    """Rotate this part of the heads, of ``size`` numbers, of queries or keys, in place."""
    half, frames, spot = size // 2, shape.panels * LANES, room.spots[source]
    for h in range(heads * part // parts, heads * (part + 1) // parts):
        for p in range(shape.panels):
            first = spot[PLACE] + p * spot[PANEL] + 2 * h * half * LANES
            for i in range(half):
                place, angle = first + i * LANES, pairs[i] * frames + p * LANES
                rotate_pair(room.data, place, place + half * LANES, table[0], table[1], angle)


@kernel
def keep_keys(part, parts, shape, heads, size, chunk, room, source, keys):
    """Write the keys of this part of the heads to their slots.

    Args:
        part: Number of the part.
        parts: How many there are.
        shape: ``Shape``.
        heads: Heads of the block.
        size: Numbers of a key.
        chunk: ``Chunk``.
        room: ``Room``.
        source: Spot of the keys.
        keys: Where they are kept.
    """
    own, span = chunk.own, chunk.span
    spot, begin = room.spots[source], chunk.past % shape.ring
    for h in range(heads * part // parts, heads * (part + 1) // parts):
        for first in range(0, span, LANES):
            origin = spot[PLACE] + first // LANES * spot[PANEL] + h * size * LANES
            rest = first
            if begin % LANES == 0 and first + LANES <= shape.chunk:
                target = h * shape.slots * size + (begin + first) * size
                for f in range(size):  # slots behind the chunk's own frames stay hidden
                    copy_vector(room.data, origin + f * LANES, keys, target + f * LANES)
                rest = max(first, own)
            for t in range(rest, min(first + LANES, span)):
                slot = begin + t if t < own else shape.ring + t - own
                target = h * shape.slots * size + slot // LANES * LANES * size + slot % LANES
                for f in range(size):
                    keys[target + f * LANES] = room.data[origin + f * LANES + t - first]


@kernel
def keep_values(part, parts, shape, heads, size, chunk, room, source, values):
    """Write the values of this part of the heads to their slots; arguments as above."""
    own, span = chunk.own, chunk.span
    strips, spot = (size + LANES - 1) // LANES, room.spots[source]
    begin, turned = chunk.past % shape.ring, room.sums[part].view(np.float32)
    for h in range(heads * part // parts, heads * (part + 1) // parts):
        for first in range(0, span, LANES):
            for strip in range(strips):  # the last may reach into other heads, which is not used
                row = h * size + strip * LANES
                origin = spot[PLACE] + first // LANES * spot[PANEL] + row * LANES
                transpose_tile(room.data, origin, LANES, turned, 0, LANES)
                for t in range(first, min(first + LANES, span)):
                    slot = begin + t if t < own else shape.ring + t - own
                    target = ((h * strips + strip) * shape.slots + slot) * LANES
                    copy_vector(turned, (t - first) * LANES, values, target)


@kernel
def attend(part, parts, shape, sizes, exist, room, source, keys, values, target):
    """Attention of this part of the heads.

    Args:
        part: Number of the part.
        parts: How many there are.
        shape: ``Shape``.
        sizes: Heads of the block, numbers of a key, numbers of a value.
        exist: Frames that exist.
        room: ``Room``; ``hidden`` as ``find_hidden`` filled it.
        source: Spot of the queries, rotated and scaled.
        keys: Keys of the slots.
        values: Values of the slots.
        target: Spot of the result.
    """
    heads, size, value, slots = sizes[0], sizes[1], sizes[2], shape.slots
    strips = (value + LANES - 1) // LANES
    query, out = room.spots[source], room.spots[target]
    scores, sums = room.scores[part], room.sums[part].view(np.float32)
    inverse = sums[LANES * LANES :]
    for h in range(heads * part // parts, heads * (part + 1) // parts):
        for p in range(shape.panels):
            origin = query[PLACE] + p * query[PANEL] + h * size * LANES
            frames = exist - p * LANES
            for slot in range(0, slots, LANES):
                tile, place = scores[slot * LANES :], (h * slots + slot) * size
                dense_tile(keys, place, size, room.data, origin, frames, tile)
            softmax(scores, slots, room.hidden, inverse)
            for strip in range(strips):
                place = (h * strips + strip) * slots * LANES
                dense_tile(values, place, slots, scores, 0, frames, sums)
                row = h * value + strip * LANES
                place, rows = out[PLACE] + p * out[PANEL] + row * LANES, value - strip * LANES
                scale_rows(sums, min(rows, LANES), inverse, room.data, place)


def shape_of(size: int, head: int, chunk: int, left: int, right: int) -> Shape:
    """Choose the sizes of the ring."""
    ring = (-(-left // chunk) + 1) * chunk
    slots, panels = padded(ring + right), padded(chunk + right) // LANES
    return Shape(padded(size), head, chunk, left, right, ring, slots, panels)


def angles_of(shape: Shape, pairs: Array) -> Angles:
    """Compute what does not depend on the place in the stream."""
    half, frames = shape.head // 2, shape.panels * LANES
    frequencies = 10000.0 ** -(np.arange(half) / half)
    steps = frequencies[:, None] * np.arange(frames)
    table = np.zeros((2, 2, half * frames), np.float32)
    steps = np.stack([np.cos(steps), np.sin(steps)])
    return Angles(frequencies, steps, table[0], table[1], pairs)
