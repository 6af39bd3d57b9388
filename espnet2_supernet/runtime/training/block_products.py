"""Products with a weight of 16x1 blocks, at the cost of its kept blocks.

``y = x (W*m)^T + b`` and its two gradients need the kept blocks of ``W`` only. At 70 % zeros the
three together took about half the time of oneDNN's dense products, and a quarter of that of
torch's default ones, on one busy core of a Zen 5 EPYC (AVX-512), 1200 rows, sizes 144 to 576
(``tests/benchmarks/bench_sparse_training.py``).

Every number is summed in an order that depends on the mask alone, so results are the same in
every run and with any number of threads. Layout and kernels are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espnet2_supernet.runtime.kernels.vectors import LANES, cpu_has
from espnet2_supernet.runtime.training import block_loops as loops
from espnet2_supernet.runtime.training.block_tiles import COLUMNS, INPUT_ROWS
from espnet2_supernet.runtime.training.threads import spread

Array = np.ndarray
TILES_PER_STEP = 8


def supported() -> bool:
    """Whether this CPU has the vector instructions that make the kernels pay."""
    return cpu_has("avx512f") or cpu_has("avx2", "fma")


@dataclass(frozen=True)
class BlockIndex:
    """Where the kept blocks of a mask are. A *group* is a strip of 16 rows of the weight.

    Groups with an odd number of blocks get one more, of zeros, which reads any column and whose
    results are not used: tiles hold an even number of blocks.

    Attributes:
        outs: Rows of the weight.
        ins: Columns of the weight.
        columns: Column of every block, int32 (P,); ``ins`` for blocks that fill up.
        offsets: Place of that column in a panel (see ``block_loops``), int32 (P,).
        starts: First block of every group, int64 (G,).
        counts: Kept blocks of every group, int64 (G,).
        tiles: First block, number of blocks and group of every tile, int64 (tiles, 3).
    """

    outs: int
    ins: int
    columns: Array
    offsets: Array
    starts: Array
    counts: Array
    tiles: Array

    @classmethod
    def build(cls, keep: Array) -> BlockIndex:
        """List the kept blocks.

        Args:
            keep: bool (G, ins), whether the block of group g in a column is kept; ins a multiple
                of 16.

        Raises:
            ValueError: If ins is no multiple of 16.
        """
        groups, ins = keep.shape
        if ins % LANES:
            raise ValueError(f"block products need a multiple of {LANES} columns, got {ins}")
        counts = keep.sum(1).astype(np.int64)
        padded = counts + counts % 2
        starts = np.cumsum(padded) - padded
        columns = np.full(int(padded.sum()), ins, np.int32)
        group, column = np.nonzero(keep)
        within = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        columns[starts[group] + within] = column
        read = np.where(columns < ins, columns, 0)
        offsets = (read // LANES * loops.PITCH * LANES + read % LANES).astype(np.int32)
        tiles = [tile for g in range(groups) for tile in _tiles(int(starts[g]), int(padded[g]), g)]
        table = np.array(tiles, np.int64).reshape(-1, 3)
        return cls(groups * LANES, ins, columns, offsets, starts, counts, table)

    @property
    def density(self) -> float:
        """Fraction of kept weights."""
        return float(self.counts.sum()) / max(1, len(self.counts) * self.ins)


def pack(index: BlockIndex, weight: Array) -> Array:
    """Gather the kept blocks of a weight (outs, ins): float32 (P, 16).

    Raises:
        ValueError: If the weight does not fit.
    """
    flat = _flat(weight, (index.outs, index.ins), "weight")
    packed = loops.scratch(len(index.columns) * LANES)
    packed[:] = 0.0
    loops.pack_weights(flat, index.ins, index.columns, index.starts, index.counts, packed)
    return packed.reshape(-1, LANES)


def forward(
    index: BlockIndex, packed: Array, x: Array, bias: Array, out: Array, threads: int = 1
) -> None:
    """Compute ``out = x (W*m)^T + bias``.

    Args:
        index: Kept blocks.
        packed: Their weights, from :func:`pack`.
        x: Input (M, ins), float32 and contiguous like all matrices here.
        bias: Bias (outs,).
        out: Result (M, outs).
        threads: Threads at most.

    Raises:
        ValueError: If shapes, types or layouts do not fit.
    """
    rows = len(x)
    spread(
        loops.forward,
        rows,
        loops.PANEL_ROWS,
        threads,
        _flat(x, (rows, index.ins), "x"),
        index.ins,
        index.outs,
        index.offsets,
        _flat(packed, (len(index.columns), LANES), "packed"),
        index.starts,
        index.counts,
        _flat(bias, (index.outs,), "bias"),
        _flat(out, (rows, index.outs), "out"),
    )


def input_gradient(
    index: BlockIndex, packed: Array, grads: Array, out: Array, threads: int = 1
) -> None:
    """Compute ``out = grads (W*m)``: grads (M, outs), out (M, ins).

    Raises:
        ValueError: If shapes, types or layouts do not fit.
    """
    rows = len(grads)
    spread(
        loops.input_gradient,
        rows,
        INPUT_ROWS,
        threads,
        _flat(grads, (rows, index.outs), "grads"),
        index.ins,
        index.outs,
        _flat(packed, (len(index.columns), LANES), "packed"),
        index.columns,
        index.tiles,
        _flat(out, (rows, index.ins), "out"),
    )


def weight_gradient(
    index: BlockIndex, x: Array, grads: Array, out: Array, bias_out: Array, threads: int = 1
) -> None:
    """Compute ``out = (grads^T x) * m`` and ``bias_out``, the sum of grads over rows.

    Args:
        index: Kept blocks.
        x: Input (M, ins).
        grads: Gradient of the output (M, outs).
        out: Gradient of the weight (outs, ins), zeros where the mask is 0.
        bias_out: Gradient of the bias (outs,).
        threads: Threads at most.

    Raises:
        ValueError: If shapes, types or layouts do not fit.
    """
    rows = len(x)
    sums = loops.scratch(len(index.columns) * LANES)
    sums[:] = bias_out[:] = 0.0
    spread(
        loops.weight_gradient,
        len(index.tiles),
        TILES_PER_STEP,
        threads,
        _flat(x, (rows, index.ins), "x"),
        _flat(grads, (rows, index.outs), "grads"),
        rows,
        index.ins,
        index.outs,
        index.offsets,
        index.tiles,
        sums,
        _flat(bias_out, (index.outs,), "bias_out"),
    )
    loops.unpack_weights(
        sums,
        index.ins,
        index.columns,
        index.starts,
        index.counts,
        _flat(out, (index.outs, index.ins), "out"),
    )


def _tiles(start: int, blocks: int, group: int) -> list[tuple[int, int, int]]:
    """Cut an even number of blocks into even tiles of nearly equal size."""
    tiles = -(-blocks // COLUMNS)
    bounds = [start + blocks // 2 * i // tiles * 2 for i in range(tiles + 1)] if tiles else []
    return [(lo, hi - lo, group) for lo, hi in zip(bounds, bounds[1:], strict=False)]


def _flat(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Check what the kernels do not: they read and write without bounds."""
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise ValueError(
            f"{name}: wanted contiguous float32 {shape}, got {array.dtype} {array.shape}"
            f"{'' if array.flags.c_contiguous else ', not contiguous'}"
        )
    return array.reshape(-1)
