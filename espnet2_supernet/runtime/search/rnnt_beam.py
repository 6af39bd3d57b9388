"""Time-synchronous RNN-T beam search (Saon et al. 2020, "TSD"), incremental and bounded.

ESPnet's ``BeamSearchTransducer`` keeps whole token lists per beam and caches the predictor output
of every history, so its time and memory grow with the utterance; hence this one. Same recursion,
with prefix-tree histories, recombination of equal sequences and a frame-synchronous commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from espnet2_supernet.runtime.search.beam import BeamState, commit_if_due
from espnet2_supernet.runtime.search.hypothesis import (
    NEG_INF,
    Alignment,
    PrefixNode,
    SearchHypothesis,
    log_add,
    pending,
)
from espnet2_supernet.runtime.search.interfaces import LanguageModel, Rows, Transducer


class RNNTBeam:
    """One token sequence with its probability.

    Attributes:
        node: The sequence.
        log_prob: Log-probability of all its paths up to the current frame.
        path: Log-probability of its best path.
        alignment: Emission frames of that path.
        predictor: Predictor state: before the last token until ``output`` is computed, then after.
        output: Projected predictor output ``(J,)``; ``None`` until computed.
        lm_state: Language-model state, before or after the last token like ``predictor``.
        lm_row: Weighted language-model scores of the next token ``(V,)``.
    """

    __slots__ = (
        "node", "log_prob", "path", "alignment", "predictor", "output", "lm_state", "lm_row"
    )  # fmt: skip

    def __init__(
        self, node: PrefixNode, log_prob: float, path: float, alignment: Alignment
    ) -> None:
        """Make a beam without predictor output."""
        self.node = node
        self.log_prob = log_prob
        self.path = path
        self.alignment = alignment
        self.predictor: Any = None
        self.output: Any = None
        self.lm_state: Any = None
        self.lm_row: np.ndarray | None = None

    @property
    def score(self) -> float:
        """What beams are ranked by."""
        return self.log_prob + self.node.bonus

    def alignments(self) -> list[Alignment]:
        """All alignments held, to be cut at a commit."""
        return [self.alignment]

    def after_blank(self, log_prob: float) -> RNNTBeam:
        """Return the beam of the same sequence at the next frame."""
        beam = RNNTBeam(self.node, self.log_prob + log_prob, self.path + log_prob, self.alignment)
        beam.predictor, beam.output = self.predictor, self.output
        beam.lm_state, beam.lm_row = self.lm_state, self.lm_row
        return beam

    def after_token(self, token: int, bonus: float, log_prob: float, frame: int) -> RNNTBeam:
        """Return the beam of the sequence plus ``token``, same frame, predictor still behind."""
        node = self.node.child(token, bonus)
        link = Alignment(frame, self.alignment)
        beam = RNNTBeam(node, self.log_prob + log_prob, self.path + log_prob, link)
        beam.predictor, beam.lm_state = self.predictor, self.lm_state
        return beam


class BeamRNNT:
    """Time-synchronous beam search.

    With ``beam_size`` and ``prune_margin`` large enough it sums, for every sequence, all paths
    with at most ``max_symbols`` tokens per frame.

    Args:
        head: Predictor and joint network.
        beam_size: Sequences kept per frame.
        max_symbols: Tokens per frame at most.
        lm: Language model for shallow fusion.
        lm_weight: Its weight (≥ 0).
        length_bonus: Added to the score per token.
        prune_margin: Sequences this far (nats) below the best are dropped; ``None`` = never.
        max_pending: Longest history that may stay undecided, in tokens.
        commit_every: Frames between two commits.
    """

    def __init__(
        self,
        head: Transducer,
        beam_size: int = 10,
        max_symbols: int = 3,
        lm: LanguageModel | None = None,
        lm_weight: float = 0.0,
        length_bonus: float = 0.0,
        prune_margin: float | None = 10.0,
        max_pending: int = 200,
        commit_every: int = 16,
    ) -> None:
        """Keep the settings; all that changes is in the state."""
        self.head = head
        self.beam_size = beam_size
        self.max_symbols = max_symbols
        self.lm = lm if lm_weight > 0 else None
        self.lm_weight = lm_weight
        self.length_bonus = length_bonus
        self.prune_margin = float("inf") if prune_margin is None else prune_margin
        self.max_pending = max_pending
        self.commit_every = commit_every

    def init_state(self) -> BeamState[RNNTBeam]:
        """Return the state before the first frame."""
        root = PrefixNode()
        beam = RNNTBeam(root, 0.0, 0.0, Alignment())
        output, beam.predictor = self.head.start()
        beam.output = output[0]
        if self.lm is not None:
            [beam.lm_state], rows = self.lm.start()
            beam.lm_row = self.lm_weight * rows[0]
        return BeamState(root=root, beams=[beam])

    def advance(
        self, state: BeamState[RNNTBeam], frames: Rows, times: Sequence[int] | None = None
    ) -> None:
        """Take the next frames.

        Args:
            state: State, changed in place.
            frames: Encoder outputs ``(n, D)``, n may be 0.
            times: Their numbers in the utterance ``(n,)``, when some were left out.

        Raises:
            ValueError: If the joint network returns NaN.
        """
        for i, row in enumerate(self.head.project(frames)):
            time = state.frame if times is None else times[i]
            state.beams = self._frame(state.beams, row, time)
            state.frame += 1
            commit_if_due(state, self.commit_every, self.max_pending)

    def pending(self, state: BeamState[RNNTBeam]) -> tuple[list[int], list[int]]:
        """Return the tokens of the best beam that may still change, and their frames."""
        best = state.beams[0]
        return pending(state.root, best.node, best.alignment)

    def nbest(self, state: BeamState[RNNTBeam], count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses, best first."""
        found = []
        for beam in state.beams[:count]:
            tokens, frames = pending(state.root, beam.node, beam.alignment)
            found.append(state.transcript.with_pending(tokens, frames, beam.score))
        return found

    def _frame(self, beams: list[RNNTBeam], enc: Any, frame: int) -> list[RNNTBeam]:
        """Return the beams after the frame with projection ``enc`` (J,)."""
        finished: dict[PrefixNode, RNNTBeam] = {}
        active = beams
        for level in range(self.max_symbols + 1):
            outputs = self._outputs(active)
            log_probs = self.head.log_probs(enc[None], outputs).astype(np.float64)
            if np.isnan(log_probs).any():
                raise ValueError("joint network output contains NaN: the weights or input are bad")
            for beam, blank in zip(active, log_probs[:, self.head.blank_id].tolist(), strict=True):
                _finish(finished, beam.after_blank(blank))
            if level == self.max_symbols:
                break
            best = max(beam.score for beam in finished.values())
            active = self._extend(active, log_probs, best - self.prune_margin, frame)
            if not active:
                break
        ranked = sorted(finished.values(), key=lambda beam: -beam.score)[: self.beam_size]
        return [b for b in ranked if b.score >= ranked[0].score - self.prune_margin]

    def _extend(
        self, beams: list[RNNTBeam], log_probs: np.ndarray, floor: float, frame: int
    ) -> list[RNNTBeam]:
        """Return the best ``beam_size`` one-token extensions above ``floor``."""
        scores = log_probs + np.array([[beam.score] for beam in beams]) + self.length_bonus
        if self.lm is not None:
            scores = scores + np.stack([beam.lm_row for beam in beams if beam.lm_row is not None])
        scores[:, self.head.blank_id] = NEG_INF
        flat = scores.ravel()
        count = min(self.beam_size, flat.size)
        top = np.argpartition(-flat, count - 1)[:count]
        top = top[np.argsort(-flat[top], kind="stable")]
        extended = []
        for index in top.tolist():
            if flat[index] < floor or flat[index] == NEG_INF:
                break
            row, token = divmod(index, log_probs.shape[1])
            log_prob = float(log_probs[row, token])
            bonus = float(flat[index]) - log_prob - beams[row].log_prob
            extended.append(beams[row].after_token(token, bonus, log_prob, frame))
        return extended

    def _outputs(self, beams: list[RNNTBeam]) -> Rows:
        """Return the predictor outputs of all beams ``(B, J)``, computing the missing ones."""
        new = [beam for beam in beams if beam.output is None]
        if new:
            tokens = [beam.node.token for beam in new]
            outputs, states = self.head.step(tokens, [beam.predictor for beam in new])
            for beam, output, predictor in zip(new, outputs, states, strict=True):
                beam.output, beam.predictor = output, predictor
            if self.lm is not None:
                lm_states, rows = self.lm.step([beam.lm_state for beam in new], tokens)
                for beam, lm_state, row in zip(new, lm_states, rows, strict=True):
                    beam.lm_state, beam.lm_row = lm_state, self.lm_weight * row
        return self.head.stack([beam.output for beam in beams if beam.output is not None])


def _finish(finished: dict[PrefixNode, RNNTBeam], beam: RNNTBeam) -> None:
    """Add a beam that has consumed the frame, summing equal sequences."""
    old = finished.setdefault(beam.node, beam)
    if old is beam:
        return
    old.log_prob = log_add(old.log_prob, beam.log_prob)
    if beam.path > old.path:
        old.path, old.alignment = beam.path, beam.alignment
