"""The RNN-T predictor and joint network as step functions for a search.

ESPnet's ``decoder.score`` caches every history it ever saw; here only ``batch_score`` is used,
which keeps nothing, so the memory of a search is its beams.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch


class _History(NamedTuple):
    """What ``batch_score`` reads of a hypothesis."""

    yseq: list[int]
    dec_state: Any


class TransducerHead:
    """Predictor plus joint network of a model.

    Args:
        predictor: A decoder of ``espnet2.asr_transducer`` (``RNNDecoder``, ``StatelessDecoder``).
        joint_network: ``espnet2.asr_transducer.joint_network.JointNetwork``.
        blank_id: Index of blank, which also starts every history.
    """

    def __init__(self, predictor: Any, joint_network: Any, blank_id: int = 0) -> None:
        """Keep references; the weights stay with the model."""
        self.predictor = predictor
        self.joint = joint_network
        self.blank_id = blank_id

    @property
    def vocab_size(self) -> int:
        """Number of output symbols, blank included."""
        return self.joint.lin_out.out_features

    @torch.no_grad()
    def project(self, frames: torch.Tensor) -> torch.Tensor:
        """Map encoder outputs ``(n, D)`` to the joint space ``(n, J)``."""
        return self.joint.lin_enc(frames)

    def start(self) -> tuple[torch.Tensor, Any]:
        """Return the projected predictor output ``(1, J)`` and state before the first token."""
        self.predictor.set_device(self.joint.lin_out.weight.device)
        outputs, states = self.step([self.blank_id], [self.predictor.init_state(1)])
        return outputs, states[0]

    @torch.no_grad()
    def step(self, tokens: list[int], states: list[Any]) -> tuple[torch.Tensor, list[Any]]:
        """Read one more token per history.

        Args:
            tokens: Token read by each history, ``(B,)``.
            states: Predictor state of each history.

        Returns:
            Projected outputs ``(B, J)`` and the new states, one per history.
        """
        histories = [_History([t], s) for t, s in zip(tokens, states, strict=True)]
        outputs, batch = self.predictor.batch_score(histories)
        new = [self.predictor.select_state(batch, i) for i in range(len(tokens))]
        return self.joint.lin_dec(outputs), new

    def stack(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Put projected outputs ``(J,)`` into one matrix ``(B, J)``."""
        return torch.stack(outputs)

    @torch.no_grad()
    def log_probs(self, enc: torch.Tensor, pred: torch.Tensor) -> np.ndarray:
        """Combine projections (broadcast over the first axis): log-probabilities ``(n, V)``."""
        logits = self.joint(enc, pred, no_projection=True)
        return torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
