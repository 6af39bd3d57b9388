"""Weights of all layers in one piece of memory, in the order in which a chunk needs them.

A processor that reads memory in order fetches ahead by itself, and every piece begins on a cache
line. A matrix becomes *tiles*: up to 16 rows and the list of *words* that these rows keep. A word
is 32 bits of a row: one float32 weight, or the int8 weights of four neighbouring inputs, which is
what one lane of a vector multiplies at a time.
"""

from __future__ import annotations

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.kernels.frame_tiles import HEIGHTS, PAIRED
from espnet2_supernet.runtime.kernels.vectors import LINE, WORD

Array = np.ndarray


class Arena:
    """Collects arrays, then lays them out one after the other.

    Attributes:
        tiles: First row, rows, line and number of words of every tile.
    """

    def __init__(self) -> None:
        self.tiles: list[tuple[int, int, int, int]] = []
        self._pieces: list[Array] = []
        self._lines = 0

    def add(self, array: Array) -> int:
        """Append an array, which must not change, and return the line on which it begins."""
        place = self._lines
        self._pieces.append(array)
        self._lines += -(-array.nbytes // LINE)
        return place

    def add_matrix(self, matrix: BlockMatrix) -> tuple[int, int]:
        """Append the tiles of a matrix.

        Returns:
            The first tile and the end.
        """
        words, columns, starts = _words(matrix)
        first, height = len(self.tiles), words.shape[1]
        for strip, (start, stop) in enumerate(zip(starts, starts[1:], strict=False)):
            row = strip * height
            for top, rows in _split(min(height, matrix.rows - row)):
                part = words[start:stop, top : top + rows]
                self._add_tile(row + top, columns[start:stop], part)
        return first, len(self.tiles)

    def _add_tile(self, row: int, columns: Array, words: Array) -> None:
        rows = words.shape[1]
        if rows == PAIRED and len(columns) % 2:  # once more the last column, with zeros
            columns = np.concatenate([columns, columns[-1:]])
            words = np.concatenate([words, np.zeros_like(words[:1])])
        place = self.add(columns)
        self.add(words)
        self.tiles.append((row, rows, place, len(columns)))

    def build(self) -> Array:
        """Return all pieces as bytes, aligned to lines."""
        whole: Array = np.zeros(self._lines * LINE + LINE, np.uint8)
        first = -whole.ctypes.data % LINE
        whole = whole[first : first + self._lines * LINE]
        place = 0
        for piece in self._pieces:
            flat = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
            whole[place : place + len(flat)] = flat
            place += -(-len(flat) // LINE) * LINE
        return whole


def row_corrections(matrix: BlockMatrix, zero_point: int) -> Array:
    """What a zero point adds to the products of int8 weights: int32 (rows,)."""
    sums = np.zeros((len(matrix.starts) - 1, matrix.block[0]), np.int64)
    strip = np.repeat(np.arange(len(sums)), np.diff(matrix.starts))
    np.add.at(sums, strip, matrix.values.sum(-1, dtype=np.int64))
    return (sums.reshape(-1)[: matrix.rows] * zero_point).astype(np.int32)


def _words(matrix: BlockMatrix) -> tuple[Array, Array, Array]:
    """Words (entries, r), their columns and the first entry of every strip."""
    r, c = matrix.block
    if matrix.scales is not None:
        matrix = matrix.with_block((r, WORD))
        words = matrix.values.view(np.int32)[..., 0]
        return words, matrix.indices, matrix.starts
    words = matrix.values.swapaxes(1, 2).reshape(-1, r)
    columns: Array = (matrix.indices[:, None].astype(np.int64) * c + np.arange(c)).reshape(-1)
    starts = matrix.starts * c
    inside = columns < matrix.columns
    if not inside.all():  # blocks that hang over
        before = np.concatenate([[0], np.cumsum(inside)])
        words, columns, starts = words[inside], columns[inside], before[starts]
    if len(columns) and columns.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{matrix.columns} columns; kernels address 65536")
    return words, columns.astype(np.uint16), starts


def _split(rows: int) -> list[tuple[int, int]]:
    """Cut rows into tiles: first row and height of each."""
    tiles, top = [], 0
    while top < rows:
        height = next(height for height in HEIGHTS if height <= rows - top)
        tiles.append((top, height))
        top += height
    return tiles
