"""Patterns: which weights of a matrix live or die together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from espnet2_supernet.errors import ConfigError

Shape = tuple[int, int]


class Pattern(Protocol):
    """Cuts a weight matrix (out, in) into groups that are kept or pruned as one.

    A pattern answers three questions about its groups, each as a vector over groups (G,), and
    judges a finished mask. Everything else (how important, how many, when) is not its business.
    """

    def group_scores(self, score: torch.Tensor) -> torch.Tensor:
        """Turn weight scores (out, in) into group scores (G,); infinity = never prune."""
        ...

    def group_sizes(self, shape: Shape, device: torch.device | None = None) -> torch.Tensor:
        """Count the weights of every group, int64 (G,)."""
        ...

    def expand(self, keep: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Turn kept groups, bool (G,), into a mask, bool (out, in)."""
        ...

    def check(self, mask: torch.Tensor, final: bool = False) -> None:
        """Refuse a mask that is not of this pattern.

        Args:
            mask: Mask, bool (out, in).
            final: Whether pruning has ended, so that the mask has to be complete.

        Raises:
            ConfigError: Naming the pattern and the first bad place.
        """
        ...

    def to_spec(self) -> Any:
        """Return what :func:`parse_pattern` reads back to an equal pattern."""
        ...


@dataclass(frozen=True)
class Elementwise:
    """Every weight for itself ("unstructured").

    Example:
        >>> keep = torch.tensor([1, 0, 1, 0, 0, 1]).bool()
        >>> print(Elementwise().expand(keep, (2, 3)).int())
        tensor([[1, 0, 1],
                [0, 0, 1]], dtype=torch.int32)
    """

    def group_scores(self, score: torch.Tensor) -> torch.Tensor:
        """Return the scores, flattened."""
        return score.flatten()

    def group_sizes(self, shape: Shape, device: torch.device | None = None) -> torch.Tensor:
        """Return ones."""
        return torch.ones(shape[0] * shape[1], dtype=torch.int64, device=device)

    def expand(self, keep: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Return the kept weights as a matrix."""
        return keep.reshape(shape)

    def check(self, mask: torch.Tensor, final: bool = False) -> None:
        """Accept every mask."""

    def to_spec(self) -> str:
        """Return ``"elementwise"``."""
        return "elementwise"


@dataclass(frozen=True)
class Block:
    """Blocks of ``rows`` outputs times ``cols`` inputs.

    A sparse kernel skips whole blocks, so 16x1 suits float32 and 16x4 int8 registers. Where the
    shape does not divide, the last blocks are smaller; the score of a block is the mean over the
    weights it really has (``||W_B||_1 / |B|``), so small blocks compete fairly.

    Example:
        >>> keep = torch.tensor([0, 1, 1, 0]).bool()  # 2 x 2 blocks, ragged at the edges
        >>> print(Block(2, 2).expand(keep, (3, 3)).int())
        tensor([[0, 0, 1],
                [0, 0, 1],
                [1, 1, 0]], dtype=torch.int32)
    """

    rows: int
    cols: int

    def grid(self, shape: Shape) -> Shape:
        """Return how many blocks tile a matrix, down and across."""
        return -(-shape[0] // self.rows), -(-shape[1] // self.cols)

    def group_scores(self, score: torch.Tensor) -> torch.Tensor:
        """Return the mean score of every block, row by row."""
        sizes = self.group_sizes((score.shape[0], score.shape[1]), score.device)
        return self._block_sums(score).flatten() / sizes

    def group_sizes(self, shape: Shape, device: torch.device | None = None) -> torch.Tensor:
        """Return rows x cols, or less at the edges."""
        ones = torch.ones(shape, device=device)
        return self._block_sums(ones).flatten().to(torch.int64)

    def expand(self, keep: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Return a block-constant mask."""
        blocks = keep.reshape(self.grid(shape))
        mask = blocks.repeat_interleave(self.rows, 0).repeat_interleave(self.cols, 1)
        return mask[: shape[0], : shape[1]].contiguous()

    def check(self, mask: torch.Tensor, final: bool = False) -> None:
        """Refuse a block that is half kept."""
        shape = (mask.shape[0], mask.shape[1])
        kept = self._block_sums(mask.float()).flatten()
        torn = (kept > 0) & (kept < self.group_sizes(shape, mask.device))
        if torn.any():
            row, col = divmod(int(torn.nonzero()[0]), self.grid(shape)[1])
            raise ConfigError(
                f"mask is not of pattern block {self.rows}x{self.cols}: the block at row "
                f"{row * self.rows}, column {col * self.cols} is only partly kept"
            )

    def to_spec(self) -> dict[str, list[int]]:
        """Return ``{"block": [rows, cols]}``."""
        return {"block": [self.rows, self.cols]}

    def _block_sums(self, matrix: torch.Tensor) -> torch.Tensor:
        down, across = self.grid((matrix.shape[0], matrix.shape[1]))
        pad = (0, across * self.cols - matrix.shape[1], 0, down * self.rows - matrix.shape[0])
        return F.pad(matrix, pad).reshape(down, self.rows, across, self.cols).sum((1, 3))


@dataclass(frozen=True)
class Structured:
    """Whole rows (``output``) or columns (``input``), ``unit`` of them at a time.

    ``unit`` is 1 for a feed-forward unit and the head size for an attention head. Layers are not
    coupled: the columns that read a pruned row of the layer before are not pruned with it (for
    that, see :class:`CoupledUnits`).

    Example:
        >>> keep = torch.tensor([1, 0, 1]).bool()
        >>> print(Structured("input").expand(keep, (2, 3)).int())
        tensor([[1, 0, 1],
                [1, 0, 1]], dtype=torch.int32)
    """

    axis: str
    unit: int = 1

    def group_scores(self, score: torch.Tensor) -> torch.Tensor:
        """Return the mean score of every unit."""
        return self._block((score.shape[0], score.shape[1])).group_scores(score)

    def group_sizes(self, shape: Shape, device: torch.device | None = None) -> torch.Tensor:
        """Return the weights of every unit."""
        return self._block(shape).group_sizes(shape, device)

    def expand(self, keep: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Return a mask of whole rows or columns."""
        return self._block(shape).expand(keep, shape)

    def check(self, mask: torch.Tensor, final: bool = False) -> None:
        """Refuse a unit that is half kept."""
        try:
            self._block((mask.shape[0], mask.shape[1])).check(mask, final)
        except ConfigError as error:
            raise ConfigError(f"pattern structured {self.axis}: {error}") from None

    def to_spec(self) -> dict[str, Any]:
        """Return ``{"structured": axis}`` or ``{"structured": [axis, unit]}``."""
        return {"structured": self.axis if self.unit == 1 else [self.axis, self.unit]}

    def _block(self, shape: Shape) -> Block:
        # A unit is a block as long as the matrix is wide (or high).
        return Block(self.unit, shape[1]) if self.axis == "output" else Block(shape[0], self.unit)


@dataclass(frozen=True)
class CoupledUnits:
    """Heads, hidden units or channels with all their rows and columns, so that they can be cut.

    Not a pattern of one matrix: which matrices belong together is declared by the network
    (:mod:`espnet2_supernet.sparsity.units`).

    Attributes:
        kinds: (kind, units that every module keeps in any case) of what is pruned.
    """

    kinds: tuple[tuple[str, int], ...]

    def to_spec(self) -> dict[str, Any]:
        """Return ``{"structured": {"kinds": [...], "min_kept": {...}}}``."""
        kinds = [kind for kind, _ in self.kinds]
        return {"structured": {"kinds": kinds, "min_kept": dict(self.kinds)}}
