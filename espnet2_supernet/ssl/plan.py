"""What is drawn for a batch before anything is computed; all subnets share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espnet2_supernet.ssl.negatives import draw_negatives
from espnet2_supernet.ssl.seeds import generator
from espnet2_supernet.ssl.spans import SpanMasking


@dataclass(frozen=True)
class Plan:
    """The masked frames of a batch and their negatives.

    The N masked frames are numbered utterance after utterance.

    Attributes:
        mask: Masked frames ``(B, T)``, bool.
        rows: Utterance of each masked frame ``(N,)``.
        columns: Number of each masked frame in its utterance ``(N,)``.
        negatives: Numbers of its negatives in the same utterance ``(N, K)``.
        counts: Masked frames of each utterance.
        seeds: Seed of each utterance, for what is drawn on the device.
    """

    mask: Tensor
    rows: Tensor
    columns: Tensor
    negatives: Tensor
    counts: list[int]
    seeds: list[int]

    @classmethod
    def draw(
        cls,
        masking: SpanMasking,
        num_negatives: int,
        lengths: Sequence[int],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> Plan:
        """Draw spans and negatives on the CPU and bring them to the device.

        Args:
            masking: The rule of the spans.
            num_negatives: K.
            lengths: Frames of each utterance.
            seeds: Seed of each utterance.
            device: Where the tensors go.
        """
        generators = [generator(seed) for seed in seeds]
        mask = torch.from_numpy(masking.draw(lengths, generators))
        counts = mask.sum(dim=1)
        sizes = counts.tolist()
        negatives = torch.from_numpy(draw_negatives(sizes, num_negatives, generators))
        rows = torch.arange(len(sizes)).repeat_interleave(counts)
        columns = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
        return cls(
            mask=mask.to(device),
            rows=rows.to(device),
            columns=columns.to(device),
            negatives=negatives.to(device),
            counts=sizes,
            seeds=list(seeds),
        )

    def pad(self, values: Tensor) -> Tensor:
        """Lay values of the masked frames ``(N, ...)`` out by utterance ``(B, max count, ...)``."""
        shape = (len(self.counts), max(self.counts, default=0), *values.shape[1:])
        return values.new_zeros(shape).index_put((self.rows, self.columns), values)

    def exponential(self, *shape: int) -> Tensor:
        """Draw exponential noise ``(N, *shape)``, float32, each utterance from its own seed."""
        device = self.mask.device
        noise = torch.empty(len(self.rows), *shape, device=device)
        random = torch.Generator(device)
        for part, seed in zip(noise.split(self.counts), self.seeds, strict=True):
            part.exponential_(generator=random.manual_seed(seed))
        return noise
