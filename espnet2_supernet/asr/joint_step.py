"""One training step over several subnets: what they share, and what each adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.asr.error_rate import greedy_error_rates
from espnet2_supernet.asr.losses.distill import ctc_distillation
from espnet2_supernet.encoder.keeper import kept_times
from espnet2_supernet.encoder.windows import take_frames


@dataclass
class JointStep:
    """Shared by the subnets of a step.

    Attributes:
        lengths: Encoder frames ``(B,)``.
        text: Token ids ``(B, U)``, padded with the blank, 0.
        text_lengths: ``(B,)``.
        views: Kinds of features that are stacked in the frames, see ``features.views``.
        stats: Statistics by name, filled by each subnet.
        teacher_log_probs: CTC log-probabilities ``(B, T, V)`` of the teacher, without gradient.
        keep: Which frames a subnet computes ``(B, T)``, by name, of those that drop some.
    """

    lengths: Tensor
    text: Tensor
    text_lengths: Tensor
    views: list[bool]
    stats: dict[str, Any] = field(default_factory=dict)
    teacher_log_probs: Tensor | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)

    def note_kept(self, name: str, keep: Tensor) -> None:
        """Note the share of frames ``(B, T)`` that a subnet computes."""
        self.note(f"keep_ratio_{name}", keep.sum() / self.lengths.sum())

    def of_kept(self, keep: Tensor) -> JointStep:
        """The step as a subnet sees it that has outputs for some frames only.

        Args:
            keep: Which frames it computes ``(B, T)``.

        Returns:
            Lengths and targets of the kept frames; the statistics are the same.
        """
        lengths, taught = keep.sum(1), self.teacher_log_probs
        if taught is not None:
            taught = take_frames(taught, kept_times(keep))
        return replace(self, lengths=lengths, teacher_log_probs=taught)

    def note(self, name: str, value: Tensor) -> Tensor:
        """Keep a scalar as statistic, without gradient, and return it as it is."""
        self.stats[name] = value.detach()
        return value

    def ctc_loss(self, name: str, log_probs: Tensor) -> Tensor:
        """CTC loss of a subnet with ``log_probs (B, T, V)``, mean over utterances.

        An utterance with more tokens than frames has no path and counts zero, as in ESPnet; in
        validation also one of which a rule keeps too few.
        """
        losses = torch.nn.functional.ctc_loss(
            log_probs.transpose(0, 1).float(),
            self.text,
            self.lengths,
            self.text_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return self.note(f"loss_ctc_{name}", losses.mean())

    def distillation_loss(self, name: str, log_probs: Tensor) -> Tensor:
        """In-place distillation from the teacher, which ran before; mean over utterances."""
        assert self.teacher_log_probs is not None
        divergence = ctc_distillation(self.teacher_log_probs, log_probs, self.lengths).mean()
        return self.note(f"loss_distill_{name}", divergence)

    def note_error_rates(self, name: str, log_probs: Tensor, token_list: list[str]) -> None:
        """Error rates of the greedy CTC path, for the log and for model selection."""
        args = (log_probs, self.lengths, self.text, self.text_lengths, token_list)
        for key, value in greedy_error_rates(*args).items():
            self.stats[f"{key}_{name}"] = value
