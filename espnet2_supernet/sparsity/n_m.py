"""The N:M pattern: n weights kept of every m neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from espnet2_supernet.errors import ConfigError

Shape = tuple[int, int]


@dataclass(frozen=True)
class NM:
    """Keep ``n`` of every ``m`` consecutive inputs of a row (2:4 is what GPUs speed up).

    Sparsity follows from n:m. While it ramps up, the smallest ``m - n`` weights of every run are
    the candidates and go in the order of their scores; the best ``n`` score infinity and never
    go (our choice), so a mask on its way keeps at least ``n`` and a final one exactly ``n``. A
    last run shorter than ``m`` keeps ``n`` too, or all it has.

    Example:
        >>> score = torch.tensor([[4.0, 1.0, 2.0, 3.0, 9.0, 8.0]])
        >>> print(NM(2, 4).group_scores(score))
        tensor([inf, 1., 2., inf, inf, inf])
        >>> print(NM(2, 4).group_scores(score).isinf().int())  # the final mask of this row
        tensor([1, 0, 0, 1, 1, 1], dtype=torch.int32)
    """

    n: int
    m: int

    @property
    def sparsity(self) -> float:
        """Fraction of zeros of a final mask, on a shape that divides."""
        return 1 - self.n / self.m

    def group_scores(self, score: torch.Tensor) -> torch.Tensor:
        """Return the scores, with infinity for the best ``n`` of every run."""
        runs = self._runs(score, fill=-torch.inf)
        # A stable sort breaks ties by position: every rank picks the same weights.
        best = runs.argsort(dim=2, descending=True, stable=True)[..., : self.n]
        runs = runs.scatter(2, best, torch.inf)
        return runs.reshape(score.shape[0], -1)[:, : score.shape[1]].flatten()

    def group_sizes(self, shape: Shape, device: torch.device | None = None) -> torch.Tensor:
        """Return ones."""
        return torch.ones(shape[0] * shape[1], dtype=torch.int64, device=device)

    def expand(self, keep: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Return the kept weights as a matrix."""
        return keep.reshape(shape)

    def check(self, mask: torch.Tensor, final: bool = False) -> None:
        """Refuse a run that keeps fewer than ``n`` (or, when final, more)."""
        kept = self._runs(mask.float(), fill=0.0).sum(2)
        real = self._runs(torch.ones_like(mask, dtype=torch.float), fill=0.0).sum(2)
        wanted = real.clamp(max=self.n)
        bad = kept != wanted if final else kept < wanted
        if bad.any():
            row, run = bad.nonzero()[0].tolist()
            raise ConfigError(
                f"mask is not of pattern n_m {self.n}:{self.m}: row {row}, columns from "
                f"{run * self.m} keep {int(kept[row, run])} weights"
            )

    def to_spec(self) -> dict[str, list[int]]:
        """Return ``{"n_m": [n, m]}``."""
        return {"n_m": [self.n, self.m]}

    def _runs(self, matrix: torch.Tensor, fill: float) -> torch.Tensor:
        rows, cols = matrix.shape
        padded = F.pad(matrix, (0, -cols % self.m), value=fill)
        return padded.reshape(rows, -1, self.m)  # (out, runs, m)
