"""Attention where frames are dropped: which slots a chunk may see.

Chunks count all frames: a chunk has its C slots of the ring, whatever is kept of it, and its kept
frames lie in the first of them. A chunk of which nothing is kept writes nothing; what its slots
hold is then too old to be seen by any later chunk, because the ring is longer than the left context
by a chunk at least. The copies of the right context follow the ring, as ever.
"""

from __future__ import annotations

from espnet2_supernet.runtime.chunk.room import HIDDEN
from espnet2_supernet.runtime.kernels.caching import kernel

NEVER = -(1 << 40)  # frame number of a slot that holds nothing


@kernel
def find_kept(shape, chunk, hidden):
    """Tell for every slot whether the chunk may see it: 0 or ``HIDDEN``.

    Args:
        shape: ``Shape``.
        chunk: ``Chunk``; ``times`` are already those of its own frames, too.
        hidden: Result (slots,).
    """
    hidden[:] = HIDDEN
    oldest = chunk.past - shape.left
    for slot in range(shape.ring):
        if chunk.times[slot] >= oldest:
            hidden[slot] = 0.0
    for e in range(chunk.exist - chunk.own):
        hidden[shape.ring + e] = 0.0
