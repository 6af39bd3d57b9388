"""Random numbers that belong to an utterance and a step, not to a process.

Spans, negatives and Gumbel noise of an utterance are drawn from a seed made of the run's seed, the
number of the batch and the utterance's id. So they are the same whatever else is in the batch, on
whichever rank the utterance lands, and after resuming (our choice; fairseq's ``mask_seed`` in the
same spirit).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def utterance_seeds(seed: int, step: int, ids: Sequence[str]) -> list[int]:
    """Return one seed of 63 bits for each utterance.

    Args:
        seed: Seed of the run.
        step: Number of the batch; a constant in validation, so that epochs are comparable.
        ids: Utterance ids.

    Example:
        >>> utterance_seeds(0, 3, ["a", "b"]) == utterance_seeds(0, 3, ["b", "a"])[::-1]
        True
        >>> utterance_seeds(0, 3, ["a"]) == utterance_seeds(0, 4, ["a"])
        False
    """
    words = (f"{seed}-{step}-{name}".encode() for name in ids)
    digests = (hashlib.blake2b(word, digest_size=8).digest() for word in words)
    return [int.from_bytes(digest, "little") >> 1 for digest in digests]


def generator(seed: int) -> np.random.Generator:
    """Return the generator of a seed; it gives the same numbers on every platform."""
    return np.random.Generator(np.random.Philox(key=seed))
