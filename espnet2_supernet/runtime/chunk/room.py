"""The memory in which a chunk is computed.

Frames lie in *panels* of 16: (rows, 16) numbers each, the last filled up with frames that do not
exist. Rows are padded to a multiple of 16 with zeros. All panels of a chunk share one array; a
*spot* in it is the place of a first panel, the distance of panels and the distance of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet2_supernet.runtime.kernels.memory import lined
from espnet2_supernet.runtime.kernels.vectors import LANES, WORD

Array = np.ndarray
PLACE, PANEL, ROW = range(3)  # of a spot
HIDDEN = np.float32(-1e30)  # added to the scores of a slot that may not be seen


class Room(NamedTuple):
    """Where a chunk is computed.

    Attributes:
        data: All panels, float32.
        spots: Where each kind of panels is, int64 (kinds, 3).
        words: Panels of bytes, see ``quantize_panel``, int32 (panels, words).
        scales: Their scales, float32 (panels * 16,).
        sums: Sums of a tile for every thread, int32 (threads, 17 * 16).
        scores: Scores of 16 queries for every thread, float32 (threads, slots * 16).
        hidden: See ``find_hidden``, float32 (slots,).
    """

    data: Array
    spots: Array
    words: Array
    scales: Array
    sums: Array
    scores: Array
    hidden: Array


def build_room(
    panels: int,
    rows: list[int],
    *,
    slots: int = 0,
    threads: int = 1,
    window: tuple[int, int, int] = (0, 0, 0),
) -> Room:
    """Allocate the room of a chunk.

    Args:
        panels: Panels.
        rows: Rows of the panels of every spot, multiples of 16.
        slots: Keys that a query sees.
        threads: Threads.
        window: Rows, length of a row and place in the row of the first frame: of one more spot,
            whose rows hold the frames of all panels.
    """
    sizes = [one * LANES for one in rows]
    ends = np.cumsum(sizes) * panels
    spots = [[int(e) - s * panels, s, LANES] for e, s in zip(ends, sizes, strict=True)]
    spots.append([int(ends[-1]) + window[2], LANES, window[1]])
    words = max(sizes) // WORD
    return Room(
        lined(int(ends[-1]) + window[0] * window[1]),
        np.array(spots, np.int64),
        lined(panels * words, np.int32).reshape(panels, words),
        lined(panels * LANES),
        lined(threads * (LANES + 1) * LANES, np.int32).reshape(threads, -1),
        lined(threads * slots * LANES).reshape(threads, slots * LANES),
        lined(slots),
    )
