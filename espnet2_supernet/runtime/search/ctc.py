"""Incremental CTC search over log-probabilities, frame by frame, with a bounded state.

The same code decodes a whole utterance and a stream: pieces of any length give the same result.
:class:`GreedyCTC` takes the best path; :class:`PrefixBeamCTC` (in ``ctc_beam.py``) sums the paths
of a token sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis, Transcript


def as_log_probs(log_probs: np.ndarray) -> np.ndarray:
    """Return log-probabilities ``(T, V)`` as float64.

    Raises:
        ValueError: If the shape is not two-dimensional or a value is NaN.
    """
    array = np.asarray(log_probs, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"log-probabilities must have shape (T, V), not {array.shape}")
    if np.isnan(array).any():
        raise ValueError("log-probabilities contain NaN: the model's weights or its input are bad")
    return array


@dataclass
class GreedyCTCState:
    """What greedy CTC remembers between pieces.

    Attributes:
        frame: Number of encoder frames seen.
        last: Symbol of the last frame.
        score: Log-probability of the best path so far.
        transcript: Tokens emitted.
    """

    frame: int = 0
    last: int = 0
    score: float = 0.0
    transcript: Transcript = field(default_factory=Transcript)


class GreedyCTC:
    """Best-path decoding: the likeliest symbol per frame, repeats collapsed, blanks dropped.

    A token's emission frame is the first frame of its run.

    Args:
        blank_id: Index of the blank symbol.
    """

    def __init__(self, blank_id: int = 0) -> None:
        """Remember the blank."""
        self.blank_id = blank_id

    def init_state(self) -> GreedyCTCState:
        """Return the state before the first frame."""
        return GreedyCTCState(last=self.blank_id)

    def advance(
        self, state: GreedyCTCState, frames: np.ndarray, times: Sequence[int] | None = None
    ) -> None:
        """Take the next frames.

        Args:
            state: State, changed in place.
            frames: Log-probabilities ``(n, V)``, n may be 0.
            times: Their numbers in the utterance ``(n,)``, when some were left out.

        Raises:
            ValueError: If the shape is wrong or a value is NaN.
        """
        log_probs = as_log_probs(frames)
        if not len(log_probs):
            return
        best = log_probs.argmax(axis=1)
        before = np.concatenate(([state.last], best[:-1]))
        starts = np.flatnonzero((best != before) & (best != self.blank_id))
        when = starts + state.frame if times is None else np.asarray(times)[starts]
        state.transcript.extend(best[starts].tolist(), when.tolist())
        for value in log_probs.max(axis=1).tolist():  # one by one: the same sum for any pieces
            state.score += value
        state.last = int(best[-1])
        state.frame += len(log_probs)

    def pending(self, state: GreedyCTCState) -> tuple[list[int], list[int]]:
        """Return the tokens that may still change, and their frames: none here."""
        return [], []

    def nbest(self, state: GreedyCTCState, count: int = 1) -> list[SearchHypothesis]:
        """Return the only hypothesis, as a list."""
        return [state.transcript.with_pending((), (), state.score)]
