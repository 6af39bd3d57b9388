"""Cropping long utterances of pre-training, the same way in every process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train.collate_fn import CommonCollateFn

from espnet2_supernet.ssl.seeds import generator, utterance_seeds


class CropCollateFn(CommonCollateFn):
    """ESPnet's collate function, after cropping what is too long.

    The place of a crop is drawn from seed, epoch and utterance id, so that it is the same on
    whichever rank and in whichever worker the utterance lands, and after resuming.

    Args:
        max_sample_size: Longest waveform in samples; None crops nothing.
        seed: Seed of the run.

    Attributes:
        epoch: Set before an epoch by :class:`EpochIterFactory`.
    """

    def __init__(self, max_sample_size: int | None = None, seed: int = 0) -> None:
        super().__init__(float_pad_value=0.0, int_pad_value=-1)
        self.max_sample_size = max_sample_size
        self.seed = seed
        self.epoch = 0

    def __call__(
        self, data: Collection[tuple[str, dict[str, np.ndarray]]]
    ) -> tuple[list[str], dict[str, torch.Tensor]]:
        """Return ids, and ``speech (B, N)`` with ``speech_lengths (B,)``."""
        return super().__call__([(key, self._crop(key, parts)) for key, parts in data])

    def _crop(self, key: str, parts: dict[str, Any]) -> dict[str, Any]:
        longest, speech = self.max_sample_size, parts["speech"]
        if longest is None or len(speech) <= longest:
            return parts
        (seed,) = utterance_seeds(self.seed, self.epoch, [f"crop {key}"])
        start = int(generator(seed).integers(len(speech) - longest + 1))
        return {**parts, "speech": speech[start : start + longest]}


class EpochIterFactory(AbsIterFactory):
    """Tells the collate function which epoch begins; otherwise the factory that it wraps.

    Args:
        factory: Makes the batches.
        collate_fn: That of the factory.
    """

    def __init__(self, factory: AbsIterFactory, collate_fn: CropCollateFn) -> None:
        self.factory, self.collate_fn = factory, collate_fn

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Iterator[Any]:
        """Return the batches of an epoch; the data loader copies the function to its workers."""
        self.collate_fn.epoch = epoch
        return self.factory.build_iter(epoch, shuffle)
