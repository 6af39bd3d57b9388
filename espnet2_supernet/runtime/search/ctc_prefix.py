"""One prefix of the CTC beam with the probabilities of its paths."""

from __future__ import annotations

from typing import Any

import numpy as np

from espnet2_supernet.runtime.search.hypothesis import NEG_INF, Alignment, PrefixNode, log_add


class CTCBeam:
    """One prefix with the probabilities of its paths.

    Attributes:
        node: The prefix.
        blank: Log-probability of all paths that end in blank.
        token: Log-probability of all paths that end in the prefix's last token.
        path_blank: Log-probability and alignment of the best path that ends in blank.
        path_token: The same for the best path that ends in the token.
        lm_state: State of the language model after the prefix.
        lm_row: Weighted language-model scores of the next token ``(V,)``.
    """

    __slots__ = ("node", "blank", "token", "path_blank", "path_token", "lm_state", "lm_row")

    def __init__(self, node: PrefixNode) -> None:
        """Start with no path at all."""
        self.node = node
        self.blank = NEG_INF
        self.token = NEG_INF
        self.path_blank: tuple[float, Alignment | None] = (NEG_INF, None)
        self.path_token: tuple[float, Alignment | None] = (NEG_INF, None)
        self.lm_state: Any = None
        self.lm_row: np.ndarray | None = None

    @property
    def total(self) -> float:
        """Log-probability of all paths of the prefix."""
        return log_add(self.blank, self.token)

    @property
    def score(self) -> float:
        """What beams are ranked by: acoustic score plus bonus."""
        return self.total + self.node.bonus

    @property
    def best_path(self) -> tuple[float, Alignment | None]:
        """Score and alignment of the best path."""
        return max(self.path_blank, self.path_token, key=lambda path: path[0])

    @property
    def alignment(self) -> Alignment:
        """Alignment of the best path."""
        path = self.best_path[1]
        assert path is not None
        return path

    def alignments(self) -> list[Alignment]:
        """All alignments held, to be cut at a commit."""
        return [p for p in (self.path_blank[1], self.path_token[1]) if p is not None]
