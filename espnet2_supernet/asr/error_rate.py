"""Error rates of greedy CTC during validation: a guide for model selection, not a result."""

from __future__ import annotations

import editdistance
import torch
from torch import Tensor

from espnet2_supernet.runtime.text import SPACE, WORD_MARK, tokens_to_text


def _words(tokens: list[str], joint: str) -> str:
    """Return the text of tokens with one blank between two words."""
    return " ".join(tokens_to_text([token + joint for token in tokens]).split())


def greedy_error_rates(
    log_probs: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, token_list: list[str]
) -> dict[str, float]:
    """Character and word error rate of the best path over a batch.

    Args:
        log_probs: CTC log-probabilities ``(B, T, V)``, blank = 0.
        lengths: Frames ``(B,)``.
        text: Reference token ids ``(B, U)``.
        text_lengths: Reference lengths ``(B,)``.
        token_list: V tokens.

    Returns:
        ``{"cer": ..., "wer": ...}`` as fractions; errors over reference length of the batch.
    """
    errors, totals = {"cer": 0, "wer": 0}, {"cer": 0, "wer": 0}
    # Where no token marks a word's edge, each token is a word
    joint = "" if any(t == SPACE or t.startswith(WORD_MARK) for t in token_list) else " "
    best = log_probs.argmax(dim=-1).cpu()
    for path, length, ids, count in zip(best, lengths, text.cpu(), text_lengths, strict=True):
        collapsed = torch.unique_consecutive(path[: int(length)]).tolist()
        hyp = _words([token_list[i] for i in collapsed if i != 0], joint)
        ref = _words([token_list[i] for i in ids[: int(count)].tolist()], joint)
        errors["cer"] += editdistance.eval(ref, hyp)
        totals["cer"] += len(ref)
        errors["wer"] += editdistance.eval(ref.split(), hyp.split())
        totals["wer"] += len(ref.split())
    return {key: errors[key] / max(1, totals[key]) for key in errors}
