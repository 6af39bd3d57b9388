"""What an RNN-T loss may be given: one check for all paths, with messages that name the culprit."""

from __future__ import annotations

import torch
from torch import Tensor

from espnet2_supernet.errors import ConfigError, DataError


def check_targets(
    shape: tuple[int, ...],
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    blank_id: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    """Check everything about a batch but the logits, and bring it into kernel form.

    Args:
        shape: Shape of the logits, (B, T, U+1, V).
        targets: Label ids (B, U).
        logit_lengths: Frames of each utterance (B,).
        target_lengths: Labels of each utterance (B,).
        blank_id: Id of blank.
        device: Where the results shall be.

    Returns:
        Labels int64 (B, U+1) with blank in the padding, and both lengths, int64 (B,).

    Raises:
        ConfigError: If blank is outside the vocabulary.
        DataError: For shapes, lengths or target ids that do not fit.
    """
    batch, frames, states, vocab = shape
    if not 0 <= blank_id < vocab:
        raise ConfigError(f"blank_id {blank_id} is outside the vocabulary 0..{vocab - 1}")
    _check_shapes(shape, targets, logit_lengths, target_lengths)
    t_lens = logit_lengths.to(device, torch.int64).contiguous()
    u_lens = target_lengths.to(device, torch.int64).contiguous()
    _check_range("logit_lengths", t_lens, 1, frames)
    _check_range("target_lengths", u_lens, 0, states - 1)
    targets = targets.to(device, torch.int64)
    valid = torch.arange(states - 1, device=device) < u_lens[:, None]
    _check_ids(targets, valid, blank_id, vocab)
    labels = torch.full((batch, states), blank_id, dtype=torch.int64, device=device)
    labels[:, :-1] = torch.where(valid, targets, blank_id)
    return labels, t_lens, u_lens


def _check_shapes(
    shape: tuple[int, ...], targets: Tensor, logit_lengths: Tensor, target_lengths: Tensor
) -> None:
    batch, frames, states, _ = shape
    for name, value, want in (
        ("targets", targets, (batch, states - 1)),
        ("logit_lengths", logit_lengths, (batch,)),
        ("target_lengths", target_lengths, (batch,)),
    ):
        if tuple(value.shape) != want or value.is_floating_point():
            raise DataError(
                f"{name} must be integers {want} to fit (B, T, U+1) = "
                f"({batch}, {frames}, {states}), got {describe(value)}"
            )
    if batch == 0:
        raise DataError("rnnt_loss: the batch is empty")


def _check_ids(targets: Tensor, valid: Tensor, blank_id: int, vocab: int) -> None:
    wrong = valid & ((targets < 0) | (targets >= vocab) | (targets == blank_id))
    if bool(wrong.any()):
        b, u = wrong.nonzero()[0].tolist()
        raise DataError(
            f"targets[{b}, {u}] = {int(targets[b, u])} is blank ({blank_id}) or outside the "
            f"vocabulary 0..{vocab - 1}; check the token list and target_lengths"
        )


def _check_range(name: str, lengths: Tensor, low: int, high: int) -> None:
    wrong = (lengths < low) | (lengths > high)
    if bool(wrong.any()):
        b = int(wrong.nonzero()[0])
        raise DataError(f"{name}[{b}] = {int(lengths[b])} is outside {low}..{high}")


def describe(x: Tensor) -> str:
    """Type and shape of a tensor, for messages."""
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
