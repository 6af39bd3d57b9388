"""CTC prefix beam search (Hannun et al. 2014, arXiv:1408.2873), incremental and bounded.

Added to the paper: emission frames from the best single path of each prefix, language-model fusion
on token sequences, and a history that is committed at fixed frames, hence independent of how the
stream was cut (our choices).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from espnet2_supernet.runtime.search.beam import BeamState, commit_if_due
from espnet2_supernet.runtime.search.ctc import as_log_probs
from espnet2_supernet.runtime.search.ctc_prefix import CTCBeam
from espnet2_supernet.runtime.search.hypothesis import (
    NEG_INF,
    Alignment,
    PrefixNode,
    SearchHypothesis,
    log_add,
    pending,
)
from espnet2_supernet.runtime.search.interfaces import LanguageModel

PrefixBeamState = BeamState[CTCBeam]


class PrefixBeamCTC:
    """Prefix beam search over CTC log-probabilities.

    With ``beam_size``, ``token_top_k`` and ``prune_margin`` large enough it finds the exact
    maximum of ``sum over paths`` for every prefix.

    Args:
        beam_size: Prefixes kept per frame.
        lm: Language model for shallow fusion.
        lm_weight: Its weight (≥ 0).
        length_bonus: Added to the score per token.
        blank_id: Index of the blank symbol.
        token_top_k: Tokens tried per frame, by acoustic score; ``None`` = all.
        prune_margin: Prefixes this far (nats) below the best are dropped; ``None`` = never.
        max_pending: Longest history that may stay undecided, in tokens; beyond it the beams that
            contradict the best one are dropped, which bounds the state.
        commit_every: Frames between two commits.
    """

    def __init__(
        self,
        beam_size: int = 10,
        lm: LanguageModel | None = None,
        lm_weight: float = 0.0,
        length_bonus: float = 0.0,
        blank_id: int = 0,
        token_top_k: int | None = 20,
        prune_margin: float | None = 14.0,
        max_pending: int = 200,
        commit_every: int = 16,
    ) -> None:
        """Keep the settings; all that changes is in the state."""
        self.beam_size = beam_size
        self.lm = lm if lm_weight > 0 else None
        self.lm_weight = lm_weight
        self.length_bonus = length_bonus
        self.blank_id = blank_id
        self.token_top_k = token_top_k
        self.prune_margin = float("inf") if prune_margin is None else prune_margin
        self.max_pending = max_pending
        self.commit_every = commit_every

    def init_state(self) -> PrefixBeamState:
        """Return the state before the first frame."""
        root = PrefixNode()
        beam = CTCBeam(root)
        beam.blank = 0.0
        beam.path_blank = (0.0, Alignment())
        if self.lm is not None:
            [beam.lm_state], rows = self.lm.start()
            beam.lm_row = self.lm_weight * rows[0]
        return PrefixBeamState(root=root, beams=[beam])

    def advance(
        self, state: PrefixBeamState, frames: np.ndarray, times: Sequence[int] | None = None
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
        for i, row in enumerate(log_probs):
            self._frame(state, row, state.frame if times is None else times[i])
            state.frame += 1
            commit_if_due(state, self.commit_every, self.max_pending)

    def pending(self, state: PrefixBeamState) -> tuple[list[int], list[int]]:
        """Return the tokens of the best beam that may still change, and their frames."""
        best = state.beams[0]
        return pending(state.root, best.node, best.alignment)

    def nbest(self, state: PrefixBeamState, count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses, best first."""
        found = []
        for beam in state.beams[:count]:
            tokens, frames = pending(state.root, beam.node, beam.alignment)
            found.append(state.transcript.with_pending(tokens, frames, beam.score))
        return found

    def _frame(self, state: PrefixBeamState, row: np.ndarray, time: int) -> None:
        """Replace the beams by those after one more frame ``row`` (V,)."""
        stays = self._stay(state.beams, row)
        candidates = self._extend(state, stays, row, time)
        entries = [(beam.score, beam) for beam in stays.values()]
        cutoff = max(score for score, _ in entries) if entries else NEG_INF
        kept: list[tuple[float, Any]] = heapq.nlargest(
            self.beam_size, entries + candidates, key=lambda entry: entry[0]
        )
        cutoff = max(cutoff, kept[0][0]) - self.prune_margin
        beams = [
            item if isinstance(item, CTCBeam) else self._new_beam(item, time)
            for score, item in kept
            if score >= cutoff
        ]
        self._score_lm(beams)
        state.beams = beams

    def _stay(self, beams: list[CTCBeam], row: np.ndarray) -> dict[PrefixNode, CTCBeam]:
        """Follow the paths that add no token: a blank, or the last token held."""
        blank = float(row[self.blank_id])
        stays = {}
        for beam in beams:
            new = CTCBeam(beam.node)
            new.lm_state, new.lm_row = beam.lm_state, beam.lm_row
            score, path = beam.best_path
            new.blank, new.path_blank = beam.total + blank, (score + blank, path)
            if beam.token > NEG_INF:
                held = float(row[beam.node.token])
                new.token = beam.token + held
                new.path_token = (beam.path_token[0] + held, beam.path_token[1])
            stays[beam.node] = new
        return stays

    def _extend(
        self, state: PrefixBeamState, stays: dict[PrefixNode, CTCBeam], row: np.ndarray, time: int
    ) -> list[tuple[float, tuple]]:
        """Follow the paths that add a token; merge them into ``stays`` or list them as new."""
        floor = max((beam.score for beam in stays.values()), default=NEG_INF) - self.prune_margin
        tokens = self._top_tokens(row)
        candidates: list[tuple[float, tuple]] = []
        for beam in state.beams:
            total, best_path = beam.total, beam.best_path
            ceiling = total + beam.node.bonus + max(self.length_bonus, 0.0)
            for token, log_prob in tokens:
                if ceiling + log_prob < floor:
                    break
                if token == beam.node.token:  # a repeat needs a blank in between
                    source, path = beam.blank, beam.path_blank
                else:
                    source, path = total, best_path
                if source + log_prob == NEG_INF:
                    continue
                start = (path[0] + log_prob, path[1])
                child = beam.node.find_child(token)
                if child is not None and child in stays:
                    _merge(stays[child], source + log_prob, start, time)
                    continue
                bonus = beam.node.bonus + self._token_bonus(beam, token)
                score = source + log_prob + bonus
                if score >= floor:
                    candidates.append((score, (beam, token, bonus, source + log_prob, start)))
        return candidates

    def _top_tokens(self, row: np.ndarray) -> list[tuple[int, float]]:
        """Return the tokens worth trying with their scores, best first."""
        count = len(row) if self.token_top_k is None else min(self.token_top_k + 1, len(row))
        top = np.argpartition(-row, count - 1)[:count]
        top = top[np.argsort(-row[top], kind="stable")]
        pairs = zip(top.tolist(), row[top].tolist(), strict=True)
        return [(token, value) for token, value in pairs if token != self.blank_id]

    def _token_bonus(self, beam: CTCBeam, token: int) -> float:
        """Language-model score and length bonus of one more token."""
        if beam.lm_row is None:
            return self.length_bonus
        return self.length_bonus + float(beam.lm_row[token])

    def _new_beam(self, item: tuple, frame: int) -> CTCBeam:
        """Make the beam of a prefix that was not in the beam before."""
        parent, token, bonus, score, (path_score, path) = item
        beam = CTCBeam(parent.node.child(token, bonus))
        beam.token = score
        beam.path_token = (path_score, Alignment(frame, path))
        beam.lm_state = parent.lm_state
        return beam

    def _score_lm(self, beams: list[CTCBeam]) -> None:
        """Advance the language model for the new beams, in one batch."""
        if self.lm is None:
            return
        new = [beam for beam in beams if beam.lm_row is None]
        if not new:
            return
        states, rows = self.lm.step([b.lm_state for b in new], [b.node.token for b in new])
        for beam, lm_state, row in zip(new, states, rows, strict=True):
            beam.lm_state, beam.lm_row = lm_state, self.lm_weight * row


def _merge(beam: CTCBeam, score: float, start: tuple[float, Alignment | None], frame: int) -> None:
    """Add the paths that reach an existing beam by its last token."""
    beam.token = log_add(beam.token, score)
    if start[0] > beam.path_token[0]:
        beam.path_token = (start[0], Alignment(frame, start[1]))
