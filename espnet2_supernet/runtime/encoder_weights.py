"""From the description and the weights of an encoder to what the chunk step computes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from espnet2_supernet.runtime import chunk_blocks as blocks
from espnet2_supernet.runtime.arena import Arena
from espnet2_supernet.runtime.block_matrix import BlockMatrix
from espnet2_supernet.runtime.chunk_products import WORDS, Weights, add_matrix, build_weights

Array = np.ndarray
KINDS = ("conformer", "transformer")


@dataclass(frozen=True)
class EncoderDescription:
    """Sizes of an encoder and of its chunks; frames are those after subsampling.

    Attributes:
        kind: ``conformer`` or ``transformer``.
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Inner size of the feed-forward modules.
        num_blocks: Blocks.
        chunk_size: Frames C of a chunk.
        left_context: Frames L before a chunk that attention sees.
        right_context: Frames R after it.
        kernel: Width of the depthwise kernel, odd; conformer only.

    Raises:
        ValueError: If a value is impossible.
    """

    kind: str
    size: int
    heads: int
    linear_units: int
    num_blocks: int
    chunk_size: int
    left_context: int
    right_context: int = 0
    kernel: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        if self.kind not in KINDS:
            raise ValueError(f"kind: unknown '{self.kind}'; choose one of {', '.join(KINDS)}")
        sizes = {key: value for key, value in asdict(self).items() if key != "kind"}
        for key, value in sizes.items():
            least = 0 if key in ("left_context", "right_context") else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{key}: wanted a whole number of at least {least}, got {value!r}")
        if self.size % self.heads or self.size // self.heads % 2:
            raise ValueError(f"size {self.size} is no even multiple of heads {self.heads}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderDescription:
        """Read a description.

        Raises:
            ValueError: If a key is missing or unknown, or a value is impossible.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted(known - set(values) - {"right_context", "kernel"})
        if unknown or missing:
            raise ValueError(f"encoder description: unknown keys {unknown}, missing keys {missing}")
        return cls(**values)


def matrix_shapes(description: EncoderDescription) -> dict[str, tuple[int, int]]:
    """Names and shapes of all matrices, as in the state of the encoder."""
    size, units = description.size, description.linear_units
    feed = {"linear_in": (units, size), "linear_out": (size, units)}
    one = {f"feed_forward.{name}": shape for name, shape in feed.items()}
    for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
        one[f"attention.{name}"] = (size, size)
    if description.kind == "conformer":
        one |= {f"feed_forward_macaron.{name}": shape for name, shape in feed.items()}
        one["convolution.pointwise_in"] = (2 * size, size)
        one["convolution.pointwise_out"] = (size, size)
    return {
        f"blocks.{i}.{name}.weight": shape
        for i in range(description.num_blocks)
        for name, shape in one.items()
    }


class WeightLoader:
    """Puts the weights of an encoder into an arena, block after block.

    Args:
        description: Sizes.
        weights: Arrays by their name in the state of the encoder; matrices may be
            ``BlockMatrix`` already. Names of no block or norm are left alone.
        block: Blocks into which dense matrices are cut.

    Raises:
        ValueError: If weights are missing or do not fit, or some matrices are int8 and some not.
    """

    def __init__(
        self,
        description: EncoderDescription,
        weights: Mapping[str, Array | BlockMatrix],
        block: tuple[int, int],
    ) -> None:
        self.description, self._weights, self._block = description, weights, block
        self._arena = Arena()
        self._matrices: list[list[int]] = []
        self._norms = np.zeros((description.num_blocks, blocks.NORMS, 2), np.int64)
        self._depthwise = np.zeros((description.num_blocks, 2), np.int64)
        for i in range(description.num_blocks):
            self._add_block(i)
        final = np.array(self._norm("norm"), np.int64)
        self.places = blocks.Places(self._norms, self._depthwise, final)
        self.weights: Weights = build_weights(self._arena, self._matrices)
        kinds = {bool(row[5]) for row in self._matrices if row[1] > 0}
        if len(kinds) != 1:
            raise ValueError("some matrices are int8 and some are not")
        self.int8 = kinds.pop()

    def _add_block(self, i: int) -> None:
        name, conformer = f"blocks.{i}.", self.description.kind == "conformer"
        norms = self._norms[i]
        if conformer:
            norms[blocks.NORM_MACARON] = self._norm(f"{name}norm_macaron")
            self._feed_forward(f"{name}feed_forward_macaron.", 0.5)
        else:
            self._skip(2)
        norms[blocks.NORM_ATTENTION] = self._norm(f"{name}norm_attention")
        for part in ("q", "k", "v", "out"):
            self._matrix(f"{name}attention.linear_{part}")
        if conformer:
            self._convolution(i)
        else:
            self._skip(3)
        norms[blocks.NORM_UNITS] = self._norm(f"{name}norm_feed_forward")
        self._feed_forward(f"{name}feed_forward.", 0.5 if conformer else 1.0)
        if conformer:
            norms[blocks.NORM_OUT] = self._norm(f"{name}norm_out")

    def _convolution(self, i: int) -> None:
        name, size = f"blocks.{i}.convolution.", self.description.size
        self._norms[i, blocks.NORM_CONV] = self._norm(f"blocks.{i}.norm_convolution")
        value, gate = slice(0, size), slice(size, 2 * size)
        self._matrix(f"{name}pointwise_in", rows=gate)
        self._matrix(f"{name}pointwise_in", rows=value)
        taps = self._array(f"{name}depthwise.weight", (size, 1, self.description.kernel))
        bias = self._array(f"{name}depthwise.bias", (size,))
        self._depthwise[i] = [self._arena.add(one) * WORDS for one in (taps, bias)]
        self._norms[i, blocks.NORM_DEPTHWISE] = self._norm(f"{name}norm")
        self._matrix(f"{name}pointwise_out")

    def _feed_forward(self, name: str, factor: float) -> None:
        self._matrix(f"{name}linear_in")
        self._matrix(f"{name}linear_out", factor)

    def _matrix(self, name: str, factor: float = 1.0, rows: slice | None = None) -> None:
        matrix = self._block_matrix(f"{name}.weight")
        bias = self._array(f"{name}.bias", (matrix.rows,))
        if rows is not None:
            matrix, bias = matrix.take_rows(rows.start, rows.stop), bias[rows]
        if factor != 1.0:
            matrix, bias = matrix.times(factor), bias * np.float32(factor)
        self._matrices.append(add_matrix(self._arena, matrix, bias))

    def _block_matrix(self, name: str) -> BlockMatrix:
        shape = matrix_shapes(self.description)[name]
        given = self._get(name)
        if not isinstance(given, BlockMatrix):
            given = BlockMatrix.from_dense(self._array(name, shape), self._block)
        if (given.rows, given.columns) != shape:
            raise ValueError(f"{name}: wanted {shape}, got {(given.rows, given.columns)}")
        return given

    def _norm(self, name: str) -> list[int]:
        size = (self.description.size,)
        parts = [self._array(f"{name}.{part}", size) for part in ("weight", "bias")]
        return [self._arena.add(part) * WORDS for part in parts]

    def _skip(self, count: int) -> None:
        self._matrices += [[0] * 6] * count

    def _array(self, name: str, shape: tuple[int, ...]) -> Array:
        array = np.ascontiguousarray(self._get(name), np.float32)
        if array.shape != shape:
            raise ValueError(f"{name}: wanted shape {shape}, got {array.shape}")
        return array

    def _get(self, name: str) -> Any:
        if name not in self._weights:
            raise ValueError(f"weights: '{name}' is missing")
        return self._weights[name]
