"""The encoder of a stream that drops frames: features in, frames and their times out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from espnet2_supernet.runtime.encoder.stream import (
    EncoderState,
    StatefulStep,
    StreamingEncoder,
)
from espnet2_supernet.runtime.layers.keep_rules import FrameRule, RuleState
from espnet2_supernet.runtime.layers.subsampling import Subsampling

Array = np.ndarray


class KeptChunkStep(StatefulStep, Protocol):
    """What ``KeptEncoderStep`` and ``LaterKeptStep`` offer; ``past`` of a state are the frames.

    Attributes:
        restores: Whether there is an output for every frame, dropped ones included.
    """

    restores: bool

    def step_kept(self, frames: Array, keep: Array, state: Any) -> Array:
        """Encode what is kept of a chunk; changes the state, returns its own ``(n', D)``."""
        ...


@dataclass(kw_only=True)
class DroppingState(EncoderState):
    """Everything the encoder remembers of a stream.

    Attributes:
        rule: State of the rule.
        keep: Which of the frames not yet encoded are kept ``(< C + R,)``.
    """

    rule: RuleState
    keep: Array


class DroppingEncoder(StreamingEncoder):
    """Subsampling, token-keep rule and chunk step.

    Args:
        subsampling: Features to frames.
        step: The blocks.
        sizes: Features F and model dimension D.
        chunk_size: Frames C that a step encodes, dropped ones counted.
        right_context: Frames R that it sees after them, likewise.
        rule: Decides.
    """

    def __init__(
        self,
        subsampling: Subsampling,
        step: KeptChunkStep,
        sizes: tuple[int, int],
        chunk_size: int,
        right_context: int,
        rule: FrameRule,
    ) -> None:
        """Keep the parts."""
        super().__init__(subsampling, step, sizes, chunk_size, right_context)
        self._kept_step, self._rule = step, rule

    def init_state(self) -> DroppingState:
        """State of a stream before its first feature."""
        plain, keep = super().init_state(), np.zeros(0, bool)
        return DroppingState(**vars(plain), rule=self._rule.init_state(), keep=keep)

    def stream(self, feats: Array, state: EncoderState, is_final: bool = False) -> Array:
        """Encode as many chunks as the features complete.

        Args:
            feats: The next features ``(n, F)``; n may be 0.
            state: State of the stream, changed in place; ``times`` become the numbers of the
                frames returned.
            is_final: No features follow: encode the rest, be it a whole chunk or not.

        Returns:
            Frames ``(n', D)``.
        """
        state.times = []
        return super().stream(feats, state, is_final)

    def _subsample(self, feats: Array, state: EncoderState) -> Array:
        assert isinstance(state, DroppingState)
        frames = super()._subsample(feats, state)
        keep, frames = self._rule.decide(frames, feats, state.rule)
        state.keep = np.concatenate([state.keep, keep])
        return frames

    def _step_chunk(self, visible: Array, state: EncoderState) -> Array:
        assert isinstance(state, DroppingState) and state.times is not None
        keep, past = state.keep[: len(visible)], state.memory.past
        own = keep[: self.chunk_size]
        numbers = np.arange(len(own)) if self._kept_step.restores else np.flatnonzero(own)
        state.keep = state.keep[self.chunk_size :].copy()
        state.times += (past + numbers).tolist()
        return self._kept_step.step_kept(visible, keep, state.memory)
