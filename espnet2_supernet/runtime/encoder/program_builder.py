"""From the description and the weights of an encoder to the program of its chunk step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import (
    BlockSizes,
    EncoderDescription,
    matrix_shapes,
)
from espnet2_supernet.runtime.chunk import program as ops
from espnet2_supernet.runtime.chunk.program import INNER, KEY, QUERY, VALUE, WINDOW, X, Y
from espnet2_supernet.runtime.encoder.arena import Arena
from espnet2_supernet.runtime.encoder.weights import add_matrix, build_weights
from espnet2_supernet.runtime.kernels.frame_results import ADD, GATE, SIGMOID, SILU, STORE
from espnet2_supernet.runtime.kernels.memory import WORDS

Array = np.ndarray


class ProgramBuilder:
    """Puts the weights of an encoder into an arena and writes down what is done with them.

    Args:
        description: Sizes.
        weights: Arrays by their name in the state of the encoder; matrices may be
            ``BlockMatrix``, float32 or int8. Names of no block or norm are left alone.
        block: Blocks into which dense matrices are cut.
        final_norm: Whether a norm follows the last block.

    Attributes:
        program: Operations, int64 (operations, 7), see ``chunk_program``.
        pairs: Rotary pairs that the heads of each block have left, see ``Angles``.
        weights: The arena.

    Raises:
        ValueError: If weights are missing or do not fit.
    """

    def __init__(
        self,
        description: EncoderDescription,
        weights: Mapping[str, Array | BlockMatrix],
        block: tuple[int, int],
        final_norm: bool = True,
    ) -> None:
        self.description, self._given, self._block = description, weights, block
        self._shapes = matrix_shapes(description)
        self._arena = Arena()
        self._matrices: list[list[int]] = []
        self._operations: list[list[int]] = []
        self.pairs = np.zeros((description.num_blocks, description.width_of_head // 2), np.int64)
        for i, sizes in enumerate(description.block_sizes()):
            is_last = i == description.num_blocks - 1
            self._add_block(i, sizes, Y if is_last and not final_norm else X)
        if final_norm:
            self._add_norm("norm", X, Y)
        self.program = np.array(self._operations, np.int64)
        self.weights = build_weights(self._arena, self._matrices)

    def _add_block(self, i: int, sizes: BlockSizes, target: int) -> None:
        name, conformer = f"blocks.{i}.", self.description.kind == "conformer"
        if conformer:
            self._add_feed_forward(name, "_macaron", "norm_macaron", 0.5)
        self._add_attention(i, sizes)
        if conformer:
            self._add_convolution(i, sizes.channels)
        if conformer:
            self._add_feed_forward(name, "", "norm_feed_forward", 0.5)
            self._add_norm(f"{name}norm_out", X, target)
        else:
            self._add_feed_forward(name, "", "norm_feed_forward", 1.0, target)

    def _add_feed_forward(
        self, name: str, suffix: str, norm: str, factor: float, target: int = X
    ) -> None:
        self._add_norm(f"{name}{norm}", X, Y)
        name = f"{name}feed_forward{suffix}"
        self._add_products(Y, (f"{name}.linear_in", INNER, Y, SILU))
        self._add_products(INNER, (f"{name}.linear_out", target, X, ADD), factor=factor)

    def _add_attention(self, i: int, sizes: BlockSizes) -> None:
        name = f"blocks.{i}.attention.linear_"
        self._add_norm(f"blocks.{i}.norm_attention", X, Y)
        targets = {"q": QUERY, "k": KEY, "v": VALUE}
        self._add_products(Y, *((name + part, to, Y, STORE) for part, to in targets.items()))
        heads = (sizes.heads, sizes.key_size, sizes.value_size)
        self._add(ops.KEEP, i, *heads)
        self._add(ops.ATTEND, i, Y, *heads)
        self.pairs[i, : sizes.key_size // 2] = self._rotary_pairs(i, sizes.key_size // 2)
        self._add_products(Y, (f"{name}out", X, X, ADD))

    def _rotary_pairs(self, i: int, count: int) -> Array:
        whole = self.description.width_of_head // 2
        if count == whole:
            return np.arange(count)
        name = f"blocks.{i}.attention.rotary_pairs"
        pairs = self._array(name, (count,))
        if not np.isin(pairs, np.arange(whole)).all():
            raise ValueError(f"{name}: wanted numbers of {whole} pairs, got {pairs.tolist()}")
        return pairs.astype(np.int64)

    def _add_convolution(self, i: int, size: int) -> None:
        name = f"blocks.{i}.convolution."
        self._add_norm(f"blocks.{i}.norm_convolution", X, Y)
        self._add(ops.RECALL, i, size)
        pair = f"{name}pointwise_in"
        self._add_products(Y, (pair, QUERY, Y, SIGMOID), rows=(size, 2 * size))
        self._add_products(Y, (pair, WINDOW, QUERY, GATE), rows=(0, size), quantize=False)
        taps = self._array(f"{name}depthwise.weight", (size, 1, self.description.kernel))
        bias = self._array(f"{name}depthwise.bias", (size,))
        places = [self._arena.add(one) * WORDS for one in (taps, bias)]
        self._add(ops.CONVOLVE, i, Y, *places, size)
        self._add_norm(f"{name}norm", Y, Y, silu=True, size=size)
        self._add_products(Y, (f"{name}pointwise_out", X, X, ADD))

    def _add_norm(
        self, name: str, source: int, target: int, silu: bool = False, size: int | None = None
    ) -> None:
        size = size or self.description.size
        parts = [self._array(f"{name}.{part}", (size,)) for part in ("weight", "bias")]
        places = [self._arena.add(part) * WORDS for part in parts]
        self._add(ops.NORM, source, target, *places, int(silu), size)

    def _add_products(
        self,
        source: int,
        *products: tuple[str, int, int, int],
        factor: float = 1.0,
        rows: tuple[int, int] | None = None,
        quantize: bool = True,
    ) -> None:
        """Add matrices that read one spot: name, spot of the result, other operand, what is done.

        ``factor`` multiplies the results, ``rows`` are those of the matrix that are used, and
        with ``quantize`` the bytes that int8 matrices read are made first.
        """
        matrices = [self._matrix(name) for name, *_ in products]
        if quantize and any(matrix.scales is not None for matrix in matrices):
            self._add(ops.QUANTIZE, source, matrices[0].columns)
        for (name, target, operand, mode), matrix in zip(products, matrices, strict=True):
            bias = self._array(f"{name}.bias", (matrix.rows,))
            if rows is not None:
                matrix, bias = matrix.take_rows(*rows), bias[slice(*rows)]
            if factor != 1.0:
                matrix, bias = matrix.times(factor), bias * np.float32(factor)
            self._add(ops.MULTIPLY, source, target, operand, len(self._matrices), mode)
            self._matrices.append(add_matrix(self._arena, matrix, bias))

    def _add(self, *operation: int) -> None:
        self._operations.append([*operation, *[0] * (ops.FIELDS - len(operation))])

    def _matrix(self, name: str) -> BlockMatrix:
        shape, given = self._shapes[f"{name}.weight"], self._get(f"{name}.weight")
        if not isinstance(given, BlockMatrix):
            given = BlockMatrix.from_dense(self._array(f"{name}.weight", shape), self._block)
        if (given.rows, given.columns) != shape:
            raise ValueError(f"{name}.weight: wanted {shape}, got {(given.rows, given.columns)}")
        return given

    def _array(self, name: str, shape: tuple[int, ...]) -> Array:
        array = np.ascontiguousarray(self._get(name), np.float32)
        if array.shape != shape:
            raise ValueError(f"{name}: wanted shape {shape}, got {array.shape}")
        return array

    def _get(self, name: str) -> Any:
        if name not in self._given:
            raise ValueError(f"weights: '{name}' is missing")
        return self._given[name]
