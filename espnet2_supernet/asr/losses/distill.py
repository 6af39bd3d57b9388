"""In-place distillation from the teacher subnet to a student of the same step."""

from __future__ import annotations

import torch
from torch import Tensor

from espnet2_supernet.asr.losses.targets import describe
from espnet2_supernet.errors import DataError


def ctc_distillation(
    teacher_log_probs: Tensor, student_log_probs: Tensor, lengths: Tensor
) -> Tensor:
    """KL divergence of the student's CTC posteriors from the teacher's, per utterance.

    ``KL(sg[teacher] || student)`` in nats, averaged over valid frames; ``sg`` stops the
    gradient: the teacher learns from its own loss only. Source: in-place distillation of
    dual-mode ASR (Yu et al., 2021), here on CTC posteriors frame by frame.

    Args:
        teacher_log_probs: Log-posteriors (B, T, V), no gradient flows back.
        student_log_probs: Log-posteriors (B, T, V) at the same frames.
        lengths: Valid frames of each utterance (B,); an empty one counts as zero.

    Returns:
        Divergence of each utterance, float32 (B,).

    Raises:
        DataError: If the shapes do not fit, as when the encoders subsample differently.
    """
    shape = student_log_probs.shape
    if teacher_log_probs.shape != shape or len(shape) != 3 or lengths.shape != shape[:1]:
        raise DataError(
            "ctc_distillation needs teacher and student (B, T, V) and lengths (B,), got "
            f"{describe(teacher_log_probs)}, {describe(student_log_probs)}, {describe(lengths)}"
        )
    teacher = teacher_log_probs.detach().float()
    posterior = teacher.exp()
    gap = teacher - student_log_probs.float()
    # A token the teacher excludes (log 0) contributes nothing, whatever the student says.
    frames = (posterior * gap.masked_fill(posterior == 0, 0.0)).sum(dim=-1)
    lengths = lengths.to(frames.device)
    valid = torch.arange(shape[1], device=frames.device) < lengths[:, None]
    return frames.masked_fill(~valid, 0.0).sum(dim=1) / lengths.clamp(min=1)
