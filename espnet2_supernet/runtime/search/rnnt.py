"""Greedy RNN-T search, incremental over encoder frames, with a bounded state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis, Transcript
from espnet2_supernet.runtime.search.interfaces import Rows, Transducer


@dataclass
class GreedyRNNTState:
    """What greedy RNN-T remembers between pieces.

    Attributes:
        output: Projected predictor output ``(1, J)``.
        predictor: Predictor state.
        frame: Number of encoder frames seen.
        score: Log-probability of the path so far.
        transcript: Tokens emitted.
    """

    output: Rows
    predictor: Any
    frame: int = 0
    score: float = 0.0
    transcript: Transcript = field(default_factory=Transcript)


class GreedyRNNT:
    """Take the likeliest symbol until blank, frame after frame.

    Args:
        head: Predictor and joint network.
        max_symbols: Tokens per frame at most; a model that never says blank cannot hang.
        block: Frames whose joint outputs are computed at once while the history stands still.
    """

    def __init__(self, head: Transducer, max_symbols: int = 10, block: int = 16) -> None:
        """Keep the settings."""
        self.head = head
        self.max_symbols = max_symbols
        self.block = block

    def init_state(self) -> GreedyRNNTState:
        """Return the state before the first frame."""
        output, predictor = self.head.start()
        return GreedyRNNTState(output, predictor)

    def advance(
        self, state: GreedyRNNTState, frames: Rows, times: Sequence[int] | None = None
    ) -> None:
        """Take the next frames.

        Args:
            state: State, changed in place.
            frames: Encoder outputs ``(n, D)``, n may be 0.
            times: Their numbers in the utterance ``(n,)``, when some were left out.

        Raises:
            ValueError: If the joint network returns NaN.
        """
        projected = self.head.project(frames)
        position, symbols = 0, 0
        while position < len(projected):
            block = projected[position : position + self.block]
            log_probs = self.head.log_probs(block, state.output)
            best = log_probs.argmax(-1)
            values = log_probs[np.arange(len(best)), best]
            if np.isnan(values).any():
                raise ValueError("joint network output contains NaN: the weights or input are bad")
            tokens = best.tolist()
            blanks = next((i for i, t in enumerate(tokens) if t != self.head.blank_id), len(tokens))
            for value in values[:blanks].tolist():
                state.score += value
            symbols = 0 if blanks else symbols
            position += blanks
            if blanks == len(tokens):
                continue
            if symbols < self.max_symbols:
                time = state.frame + position if times is None else times[position]
                self._emit(state, tokens[blanks], float(values[blanks]), time)
                symbols += 1
            else:  # the frame is given up; its blank is taken whatever it costs
                state.score += float(log_probs[blanks, self.head.blank_id])
                position, symbols = position + 1, 0
        state.frame += len(projected)

    def _emit(self, state: GreedyRNNTState, token: int, score: float, frame: int) -> None:
        """Append a token and advance the predictor."""
        state.transcript.extend([token], [frame])
        state.score += score
        state.output, [state.predictor] = self.head.step([token], [state.predictor])

    def pending(self, state: GreedyRNNTState) -> tuple[list[int], list[int]]:
        """Return the tokens that may still change, and their frames: none here."""
        return [], []

    def nbest(self, state: GreedyRNNTState, count: int = 1) -> list[SearchHypothesis]:
        """Return the only hypothesis, as a list."""
        return [state.transcript.with_pending((), (), state.score)]
