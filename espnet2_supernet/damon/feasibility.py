"""What CTC needs at least: a frame for each label, and a blank between two equal ones."""

from __future__ import annotations

import torch
from torch import Tensor


def frames_needed(text: Tensor, text_lengths: Tensor) -> Tensor:
    """Count the frames without which CTC has no path (Graves et al., ICML 2006, section 3).

    Args:
        text: Token ids ``(B, U)``; entries beyond a length are ignored.
        text_lengths: ``(B,)``.

    Returns:
        Labels + equal neighbours ``(B,)``.

    Example:
        >>> frames_needed(torch.tensor([[5, 5, 6], [7, 7, 7]]), torch.tensor([3, 1]))
        tensor([4, 1])
    """
    steps = torch.arange(1, text.size(1), device=text.device)
    repeats = (text[:, 1:] == text[:, :-1]) & (steps < text_lengths[:, None])
    return text_lengths + repeats.sum(1)


def best_frames(scores: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
    """Choose the frames of the best scores; of equal ones the earlier.

    Args:
        scores: ``(B, T)``.
        lengths: Frames of each utterance ``(B,)``.
        counts: How many of them to choose ``(B,)``; all when there are fewer.

    Returns:
        Which are chosen ``(B, T)``, none beyond a length.
    """
    valid = torch.arange(scores.size(1), device=scores.device) < lengths[:, None]
    order = scores.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    places = torch.empty_like(order).scatter_(
        1, order, torch.arange(scores.size(1), device=scores.device).expand_as(order)
    )
    return (places < counts[:, None]) & valid


def at_least(keep: Tensor, scores: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
    """Keep more frames, by score, where fewer are kept than are needed.

    Args:
        keep: Which frames are kept ``(B, T)``, none beyond a length.
        scores: ``(B, T)``.
        lengths: Frames of each utterance ``(B,)``.
        counts: How many are needed ``(B,)``.

    Returns:
        ``(B, T)``: a row with enough frames as it was.
    """
    counts = torch.maximum(counts, keep.sum(1))
    return best_frames(scores.masked_fill(keep, torch.inf), lengths, counts)
