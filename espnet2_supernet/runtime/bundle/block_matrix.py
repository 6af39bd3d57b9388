"""A weight matrix that stores its kept blocks only.

Blocks of r rows (outputs) x c columns (inputs) tile the matrix from its first row and column; at
the edges they hang over, with zeros outside. float32 weights, or int8 ones with a scale per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray
INT8_LIMIT = 127  # symmetric: -128 is not used


@dataclass(frozen=True)
class BlockMatrix:
    """Kept blocks of a matrix, strip of r rows after strip.

    Attributes:
        rows: Outputs.
        columns: Inputs.
        block: r and c.
        starts: First block of every strip and the end of the last, int32 (strips + 1,).
        indices: Number of the block within its strip, ascending, uint16 (blocks,).
        values: Weights, float32 or int8 (blocks, r, c).
        scales: What int8 weights of a row are multiplied with, float32 (rows,); None for float32.

    Example:
        >>> matrix = BlockMatrix.from_dense(np.diag([1.0, 2.0, 3.0]).astype(np.float32), (2, 1))
        >>> matrix.indices.tolist(), matrix.density
        ([0, 1, 2], 0.5)
        >>> bool((matrix.to_dense() == np.diag([1.0, 2.0, 3.0])).all())
        True
    """

    rows: int
    columns: int
    block: tuple[int, int]
    starts: Array
    indices: Array
    values: Array
    scales: Array | None = None

    def __post_init__(self) -> None:
        """Check all that kernels rely on.

        Raises:
            ValueError: If the arrays do not describe a matrix.
        """
        if min(self.rows, self.columns, *self.block) < 1:
            raise ValueError(f"a matrix of {self.rows} x {self.columns}, blocks {self.block}")
        strips, width = self._grid()
        kind: type = np.float32 if self.scales is None else np.int8
        blocks = len(self.indices)
        _check("starts", self.starts, np.int32, (strips + 1,))
        _check("indices", self.indices, np.uint16, (blocks,))
        _check("values", self.values, kind, (blocks, *self.block))
        if self.scales is not None:
            _check("scales", self.scales, np.float32, (self.rows,))
        self._check_places(width)

    def _check_places(self, width: int) -> None:
        steps = np.diff(self.starts)
        if self.starts[0] != 0 or (steps < 0).any() or self.starts[-1] != len(self.indices):
            raise ValueError("starts: not the bounds of strips")
        if (self.indices >= width).any():
            raise ValueError(f"indices: {self.indices.max()} in strips of {width} blocks")
        ascends = np.diff(self.indices.astype(np.int32)) > 0
        ascends[self.starts[1:-1][(self.starts[1:-1] > 0) & (steps[1:] > 0)] - 1] = True
        if not ascends.all():
            raise ValueError("indices: not ascending within a strip")

    def _grid(self) -> tuple[int, int]:
        """Number of strips, and of blocks that fit in one."""
        return -(-self.rows // self.block[0]), -(-self.columns // self.block[1])

    @property
    def density(self) -> float:
        """Fraction of blocks that are kept."""
        strips, width = self._grid()
        return len(self.indices) / (strips * width)

    @classmethod
    def from_dense(cls, array: Array, block: tuple[int, int]) -> BlockMatrix:
        """Keep the blocks that are not all zeros.

        Args:
            array: float32 (rows, columns).
            block: r and c.

        Raises:
            ValueError: If the array is no finite float32 matrix, or is too wide for 16-bit indices.
        """
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"wanted a finite float32 matrix, got {array.dtype}")
        return _compress(array, block, None)

    def to_dense(self) -> Array:
        """Return float32 (rows, columns)."""
        dense = _join(self, self.values.astype(np.float32))
        return dense if self.scales is None else dense * self.scales[:, None]

    def quantize(self) -> BlockMatrix:
        """Round to int8, symmetric, one scale per row: its largest weight becomes 127.

        Raises:
            ValueError: If the weights are int8 already.
        """
        if self.scales is not None:
            raise ValueError("the weights are int8 already")
        height = self.block[0]
        largest = np.zeros((len(self.starts) - 1, height), np.float32)
        strip = np.repeat(np.arange(len(largest)), np.diff(self.starts))
        np.maximum.at(largest, strip, np.abs(self.values).max(-1, initial=0.0))
        scales = np.where(largest > 0, largest, 1.0) / np.float32(INT8_LIMIT)
        values = np.rint(self.values / scales[strip][..., None])
        values = values.clip(-INT8_LIMIT, INT8_LIMIT).astype(np.int8)
        flat = scales.reshape(-1)[: self.rows].astype(np.float32)
        return BlockMatrix(
            self.rows, self.columns, self.block, self.starts, self.indices, values, flat
        )

    def times(self, factor: float) -> BlockMatrix:
        """Multiply all weights."""
        number = np.float32(factor)
        if self.scales is not None:
            return replace(self, scales=self.scales * number)
        return replace(self, values=self.values * number)

    def take_rows(self, start: int, stop: int) -> BlockMatrix:
        """Return the matrix of some of the rows, in blocks of the same size."""
        scales = None if self.scales is None else self.scales[start:stop].copy()
        return _compress(_join(self, self.values)[start:stop], self.block, scales)

    def with_block(self, block: tuple[int, int]) -> BlockMatrix:
        """Cut the same weights into other blocks."""
        if block == self.block:
            return self
        return _compress(_join(self, self.values), block, self.scales)

    def arrays(self) -> dict[str, Array]:
        """What to save: the undo of :meth:`from_arrays`."""
        found = {
            "shape": np.array([self.rows, self.columns, *self.block], np.int32),
            "starts": self.starts,
            "indices": self.indices,
            "values": self.values,
        }
        return found if self.scales is None else {**found, "scales": self.scales}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> BlockMatrix:
        """Rebuild from what :meth:`arrays` returned.

        Raises:
            ValueError: If they do not describe a matrix.
        """
        missing = {"shape", "starts", "indices", "values"} - set(arrays)
        if missing:
            raise ValueError(f"a block matrix without {', '.join(sorted(missing))}")
        shape = np.asarray(arrays["shape"])
        if shape.shape != (4,):
            raise ValueError(f"shape: wanted four numbers, got {shape.shape}")
        rows, columns, r, c = (int(number) for number in shape)
        scales = arrays.get("scales")
        return cls(
            rows,
            columns,
            (r, c),
            np.asarray(arrays["starts"]),
            np.asarray(arrays["indices"]),
            np.asarray(arrays["values"]),
            None if scales is None else np.asarray(scales),
        )


def _check(name: str, array: Array, kind: type, shape: tuple[int, ...]) -> None:
    if array.dtype != kind or array.shape != shape:
        wanted = f"{np.dtype(kind)} {shape}"
        raise ValueError(f"{name}: wanted {wanted}, got {array.dtype} {array.shape}")


def _cut(array: Array, block: tuple[int, int]) -> Array:
    """Cut (rows, columns) into blocks (strips, width, r, c)."""
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"wanted a matrix, got shape {array.shape}")
    (rows, columns), (r, c) = array.shape, block
    strips, width = -(-rows // r), -(-columns // c)
    if width > np.iinfo(np.uint16).max + 1:
        raise ValueError(f"{width} blocks side by side; 16-bit indices reach 65536")
    if (rows, columns) != (strips * r, width * c):
        array = np.pad(array, ((0, strips * r - rows), (0, width * c - columns)))
    return array.reshape(strips, r, width, c).swapaxes(1, 2)


def _compress(dense: Array, block: tuple[int, int], scales: Array | None) -> BlockMatrix:
    """Keep the blocks that are not all zeros."""
    blocks = _cut(dense, block)
    keep = (blocks != 0).any(axis=(2, 3))
    starts = np.zeros(len(keep) + 1, np.int32)
    np.cumsum(keep.sum(1), out=starts[1:])
    strips, indices = np.nonzero(keep)
    values = np.ascontiguousarray(blocks[strips, indices])
    rows, columns = dense.shape
    return BlockMatrix(rows, columns, block, starts, indices.astype(np.uint16), values, scales)


def _join(matrix: BlockMatrix, values: Array) -> Array:
    """Undo :func:`_cut` for the kept blocks."""
    (r, c), strips = matrix.block, len(matrix.starts) - 1
    width = -(-matrix.columns // c)
    blocks = np.zeros((strips, width, r, c), values.dtype)
    blocks[np.repeat(np.arange(strips), np.diff(matrix.starts)), matrix.indices] = values
    dense = blocks.swapaxes(1, 2).reshape(strips * r, width * c)
    return np.ascontiguousarray(dense[: matrix.rows, : matrix.columns])
