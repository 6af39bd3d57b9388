"""The detector's threshold: recall first, or a keep ratio, on a validation set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.errors import ConfigError, DataError

CURVE = tuple(i / 20 for i in range(1, 20))  # probabilities of the reported curve


def choose_threshold(
    scores: Tensor, targets: Tensor, recall: float | None = None, keep_ratio: float | None = None
) -> float:
    """Choose the largest threshold with so much recall, or the least that keeps so few frames.

    It lies halfway between two scores, far from where rounding could change a decision.

    Args:
        scores: Log-odds ``(N,)``.
        targets: Which frames are salient ``(N,)``.
        recall: Salient frames kept, at least.
        keep_ratio: Instead, frames kept, at most.

    Returns:
        Log-odds.

    Raises:
        ConfigError: If not exactly one of the two is given, inside (0, 1].
        DataError: If there is no salient frame.

    Example:
        >>> scores = torch.tensor([3.0, 2.0, 1.0, 0.0])
        >>> choose_threshold(scores, torch.tensor([True, False, True, False]), recall=0.5)
        2.5
        >>> choose_threshold(scores, torch.ones(4).bool(), keep_ratio=0.5)
        1.5
    """
    given = [value for value in (recall, keep_ratio) if value is not None]
    if len(given) != 1 or not 0 < given[0] <= 1:
        raise ConfigError(f"give a recall or a keep ratio, above 0 and at most 1; got {given}")
    if not targets.any():
        raise DataError("there is no salient frame to choose a threshold by")
    ranked = scores.double().sort(descending=True).values
    if recall is not None:
        salient = scores[targets].double().sort(descending=True).values
        lowest = salient[max(0, int(torch.tensor(recall * len(salient) - 1e-6).ceil()) - 1)]
    else:
        lowest = ranked[max(0, int(given[0] * len(ranked) + 1e-6) - 1)]
    below = ranked[ranked < lowest]
    return float((lowest + below[0]) / 2 if len(below) else lowest - 1.0)


def measures(scores: Tensor, targets: Tensor, threshold: float) -> dict[str, float]:
    """Compare the frames kept with the salient ones.

    Args:
        scores: Log-odds ``(N,)``.
        targets: Which frames are salient ``(N,)``.
        threshold: Log-odds from which a frame is kept.

    Returns:
        ``recall``, ``precision``, ``keep_ratio``.
    """
    kept = scores >= threshold
    hits = float((kept & targets).sum())
    return {
        "recall": hits / max(1, int(targets.sum())),
        "precision": hits / max(1, int(kept.sum())),
        "keep_ratio": float(kept.double().mean()),
    }


def report(scores: Tensor, targets: Tensor, threshold: float) -> dict[str, Any]:
    """Return the measures at the threshold and at others, and those of the teacher's runs."""
    curve = [
        {"threshold": p, **measures(scores, targets, float(torch.logit(torch.tensor(p))))}
        for p in CURVE
    ]
    return {
        "threshold": float(torch.tensor(threshold).sigmoid()),
        **measures(scores, targets, threshold),
        "frames": len(scores),
        "teacher_keep_ratio": float(targets.double().mean()),
        "curve": curve,
    }
