"""Distractors of the contrastive loss: other masked frames of the same utterance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_negatives(
    counts: Sequence[int], num_negatives: int, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """Draw negatives for every masked frame, uniformly and with replacement, as fairseq does.

    The frame itself is never drawn. With replacement any number can be asked for: an utterance
    with fewer masked frames than negatives sees some of them several times. A single masked frame
    has no negative: it is given itself, which the loss leaves out as it does any other negative
    with the positive's code.

    Args:
        counts: Masked frames of each utterance.
        num_negatives: K.
        generators: One for each utterance.

    Returns:
        ``(N, K)`` with N = sum of the counts, utterance after utterance; the n-th masked frame of
        its utterance counts as n.
    """
    rows: list[np.ndarray] = [np.zeros((0, num_negatives), dtype=np.int64)]
    for count, random in zip(counts, generators, strict=True):
        drawn = random.integers(0, max(count - 1, 1), size=(count, num_negatives))
        own = np.arange(count)[:, None]
        rows.append(np.minimum(drawn + (drawn >= own), max(count - 1, 0)))
    return np.concatenate(rows)
