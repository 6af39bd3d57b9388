"""What the searches ask of a model, and what they offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis

Rows = Any  # a matrix of the head's own library; its first axis can be indexed and sliced


class Search(Protocol):
    """A search that reads encoder frames (or their log-probabilities) piece by piece.

    A state has ``transcript`` (committed tokens) and ``frame`` (frames seen).
    """

    def init_state(self) -> Any:
        """Return the state before the first frame."""
        ...

    def advance(self, state: Any, frames: Rows, times: Sequence[int] | None = None) -> None:
        """Take the next frames ``(n, V)`` (CTC) or ``(n, D)`` (RNN-T); changes ``state``.

        ``times`` are the numbers of the frames in the utterance, for tokens to be emitted at;
        None: no frame was left out.
        """
        ...

    def pending(self, state: Any) -> tuple[list[int], list[int]]:
        """Return tokens that may still change, and their frames."""
        ...

    def nbest(self, state: Any, count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses, best first."""
        ...


class Transducer(Protocol):
    """Predictor and joint network as step functions."""

    blank_id: int

    def project(self, frames: Rows) -> Rows:
        """Map encoder outputs ``(n, D)`` to the joint space ``(n, J)``."""
        ...

    def start(self) -> tuple[Rows, Any]:
        """Return the projected predictor output ``(1, J)`` and state before the first token."""
        ...

    def step(self, tokens: list[int], states: list[Any]) -> tuple[Rows, list[Any]]:
        """Read one more token per history: projected outputs ``(B, J)`` and the new states."""
        ...

    def stack(self, outputs: list[Any]) -> Rows:
        """Put projected outputs ``(J,)`` into one matrix ``(B, J)``."""
        ...

    def log_probs(self, enc: Rows, pred: Rows) -> np.ndarray:
        """Combine projections (broadcast over the first axis): log-probabilities ``(n, V)``."""
        ...


class LanguageModel(Protocol):
    """A language model for shallow fusion, stepped over batches of histories."""

    def start(self) -> tuple[list[Any], np.ndarray]:
        """Return a list of one state and log-probabilities ``(1, V)`` of the first token."""
        ...

    def step(self, states: list[Any], tokens: list[int]) -> tuple[list[Any], np.ndarray]:
        """Read one more token per history: new states, log-probabilities ``(B, V)``."""
        ...
