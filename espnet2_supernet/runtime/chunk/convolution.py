"""The depthwise convolution of a chunk, whose kernel ends with the chunk and its right context.

A *window* is a row per feature: the ``reach`` frames before the chunk, its own, and zeros. Between
chunks a stream keeps the first part only.
"""

from __future__ import annotations

from espnet2_supernet.runtime.chunk.room import PANEL, PLACE, ROW
from espnet2_supernet.runtime.kernels.caching import kernel
from espnet2_supernet.runtime.kernels.frame_layers import convolve_row
from espnet2_supernet.runtime.kernels.layout_tiles import copy_vector
from espnet2_supernet.runtime.kernels.vectors import LANES


@kernel
def recall(part, parts, size, taps, room, target, past):
    """Put the frames before the chunk into the windows of this part of the features.

    Args:
        part: Number of the part.
        parts: How many there are.
        size: Features.
        taps: Width of the kernel.
        room: ``Room``.
        target: Spot of the chunk in the windows, ``reach`` frames behind their beginnings.
        past: Frames before the chunk, (features, reach padded to a multiple of 16).
    """
    spot, reach = room.spots[target], taps // 2
    kept = (reach + LANES - 1) // LANES * LANES
    for f in range(size * part // parts, size * (part + 1) // parts):
        place = spot[PLACE] + f * spot[ROW] - reach
        for t in range(0, kept, LANES):  # what is too much the chunk will overwrite
            copy_vector(past, f * kept + t, room.data, place + t)


@kernel
def convolve(part, parts, size, taps, own, weights, op, room, source, target, past):
    """Slide the kernels of this part of the features, and keep what the next chunk needs.

    Args:
        part: Number of the part.
        parts: How many there are.
        size: Features.
        taps: Width of the kernel.
        own: Frames of the chunk, without right context.
        weights: ``Weights``.
        op: Places of the kernels and of their bias in the arena.
        room: ``Room``.
        source: Spot of the chunk in the windows.
        target: Spot of the result.
        past: As in ``recall``; changed.
    """
    window, out, reach = room.spots[source], room.spots[target], taps // 2
    kept = (reach + LANES - 1) // LANES * LANES
    panels = room.words.shape[0]
    for f in range(size * part // parts, size * (part + 1) // parts):
        begin = window[PLACE] + f * window[ROW] - reach
        for p in range(panels):
            convolve_row(
                room.data,
                begin + p * LANES,
                weights.floats,
                op[0] + f * taps,
                taps,
                op[1] + f,
                room.data,
                out[PLACE] + p * out[PANEL] + f * LANES,
            )
        for t in range(0, kept, LANES):
            copy_vector(room.data, begin + own + t, past, f * kept + t)
