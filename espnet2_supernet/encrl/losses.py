"""How far a student is from its teacher: frame by frame, and utterance against utterance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from espnet2_supernet.errors import DataError


def mean_over_frames(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the frames of each utterance, then over utterances; padding never counts.

    Each utterance counts alike (our choice; the paper's code averages over all frames of the
    batch, padding included): so the loss of a batch is the mean of its parts' losses, however it
    is shared out over processes.

    Args:
        values: ``(B, T)``.
        lengths: Frames of each utterance ``(B,)``.

    Returns:
        Scalar, float32.

    Example:
        >>> values = torch.tensor([[1.0, 3.0], [4.0, 100.0]])
        >>> mean_over_frames(values, torch.tensor([2, 1]))
        tensor(3.)
    """
    lengths = lengths.to(values.device)
    padding = torch.arange(values.size(1), device=values.device) >= lengths[:, None]
    sums = values.float().masked_fill(padding, 0.0).sum(dim=1)
    return (sums / lengths.clamp(min=1)).mean()


def mse(teacher: Tensor, student: Tensor, lengths: Tensor) -> Tensor:
    """Mean square of the difference (equation 4 of the paper).

    Args:
        teacher: Outputs of the classifier ``(B, T, V)``.
        student: The same of the student.
        lengths: Frames of each utterance ``(B,)``.

    Returns:
        Mean over tokens, frames and utterances, a scalar.
    """
    return mean_over_frames((teacher.float() - student.float()).square().mean(-1), lengths)


def mae(teacher: Tensor, student: Tensor, lengths: Tensor) -> Tensor:
    """Mean absolute difference (Table 4 of the paper); arguments as for :func:`mse`."""
    return mean_over_frames((teacher.float() - student.float()).abs().mean(-1), lengths)


def agreement(teacher: Tensor, student: Tensor, lengths: Tensor) -> Tensor:
    """Fraction of frames whose best token is the same; arguments as for :func:`mse`."""
    return mean_over_frames(teacher.argmax(-1) == student.argmax(-1), lengths)


def pool(encoded: Tensor, lengths: Tensor) -> Tensor:
    """Mean of the frames of each utterance, without its padding.

    Args:
        encoded: Encoder output ``(B, T, D)``.
        lengths: Frames of each utterance ``(B,)``.

    Returns:
        ``(B, D)``, float32.
    """
    lengths = lengths.to(encoded.device)
    padding = torch.arange(encoded.size(1), device=encoded.device) >= lengths[:, None]
    sums = encoded.float().masked_fill(padding[..., None], 0.0).sum(dim=1)
    return sums / lengths.clamp(min=1)[:, None]


def clip(
    teacher: Tensor, student: Tensor, scale: Tensor | float, utt_id: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Symmetric contrastive loss of utterances (CLIP, arXiv 2103.00020; equation 3 of EncRL).

    Args:
        teacher: Pooled encoder outputs of the whole batch ``(N, D)``.
        student: The same of the student.
        scale: Factor of the dot products, an inverse temperature.
        utt_id: Utterance ids of this process, for the message.

    Returns:
        Loss, and the fraction of students whose own teacher is the nearest, without gradient;
        scalars.

    Raises:
        DataError: If there is only one utterance: there is nothing to tell it from.

    Example:
        >>> loss, retrieval = clip(torch.eye(2), torch.eye(2), scale=1.0)
        >>> round(float(loss), 4), float(retrieval)
        (0.3133, 1.0)
    """
    if len(teacher) < 2:
        name = f", '{utt_id[0]}'" if utt_id else ""
        raise DataError(
            "the CLIP loss tells the utterances of a batch apart, and this batch has only "
            f"one{name}: enlarge batch_size or batch_bins, or set model_conf.losses.clip to 0"
        )
    with torch.autocast(student.device.type, enabled=False):
        logits = scale * (student.float() @ teacher.float().T)
        own = torch.arange(len(logits), device=logits.device)
        rows, columns = (functional.cross_entropy(one, own) for one in (logits, logits.T))
        return 0.5 * (rows + columns), (logits.argmax(dim=1) == own).float().mean()
