"""A naive RNN-T loss in plain torch, the oracle of the fast ones.

One cell at a time, exactly as the recursion is written in Graves, "Sequence Transduction
with Recurrent Neural Networks" (2012), equation 16; gradients come from autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _utterance_loss(log_probs: Tensor, target: list[int], blank: int) -> Tensor:
    """Negative log-likelihood of one utterance; ``log_probs`` (T, U+1, V) without padding."""
    frames, states, _ = log_probs.shape
    alpha: dict[tuple[int, int], Tensor] = {(0, 0): log_probs.new_zeros(())}
    for t in range(frames):
        for u in range(states):
            arrivals = []
            if t > 0:
                arrivals.append(alpha[t - 1, u] + log_probs[t - 1, u, blank])
            if u > 0:
                arrivals.append(alpha[t, u - 1] + log_probs[t, u - 1, target[u - 1]])
            if arrivals:
                alpha[t, u] = torch.logsumexp(torch.stack(arrivals), dim=0)
    return -(alpha[frames - 1, states - 1] + log_probs[frames - 1, states - 1, blank])


def rnnt_loss_reference(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    blank_id: int = 0,
) -> Tensor:
    """RNN-T loss by the definition, for tests: slow, differentiable to any order.

    Args:
        logits: Scores before softmax, any float dtype (B, T, U+1, V).
        targets: Label ids (B, U).
        logit_lengths: Frames of each utterance (B,).
        target_lengths: Labels of each utterance (B,).
        blank_id: Id of blank.

    Returns:
        Loss of each utterance in nats (B,).
    """
    losses = []
    for b, (frames, labels) in enumerate(
        zip(logit_lengths.tolist(), target_lengths.tolist(), strict=True)
    ):
        log_probs = logits[b, :frames, : labels + 1].log_softmax(dim=-1)
        losses.append(_utterance_loss(log_probs, targets[b, :labels].tolist(), blank_id))
    return torch.stack(losses)
