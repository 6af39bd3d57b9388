"""The frozen recogniser that a student copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.errors import ConfigError


@dataclass(frozen=True)
class Taught:
    """What a teacher says of a batch, without gradient.

    Attributes:
        encoded: Encoder output ``(B, T, D)``.
        logits: Of its CTC head ``(B, T, V)``.
        lengths: Frames ``(B,)``.
    """

    encoded: Tensor
    logits: Tensor
    lengths: Tensor


class FrozenTeacher:
    """One subnet of a trained recogniser, in evaluation mode for ever.

    It is a plain object and not a module, so that it is neither optimised nor stored in the
    student's checkpoints, nor put into training mode with the student (the authors' code let
    dropout and BatchNorm statistics of its teacher drift).

    Args:
        model: The recogniser; it is put into evaluation mode and frozen.
        subnet: Which of its subnets; the first of the table when None.

    Raises:
        ConfigError: If it has no such subnet, or no CTC head to copy.
    """

    def __init__(self, model: SupernetASRModel, subnet: str | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        table = model.supernet.subnets
        if subnet is not None and subnet not in table:
            raise ConfigError(
                f"teacher_subnet: the teacher has no subnet '{subnet}'; choose one of "
                f"{', '.join(table)}"
            )
        self.subnet = model.supernet.subnet(subnet or next(iter(table)))
        if self.subnet.tokens is not None:
            raise ConfigError(
                f"teacher_subnet: '{self.subnet.name}' leaves frames out; choose one without tokens"
            )
        ctc = model.ctc_of(self.subnet.name)
        if ctc is None:
            raise ConfigError(
                "the teacher has no CTC head (its model_conf.ctc_weight is 0), whose outputs a "
                "student could copy: choose one that was trained with a ctc_weight above 0"
            )
        self.ctc = ctc

    @torch.no_grad()
    def teach(self, feats: Tensor, feat_lengths: Tensor, like: Tensor) -> Taught:
        """Compute a batch.

        Args:
            feats: Normalised features ``(B, T, F)``.
            feat_lengths: ``(B,)``.
            like: A tensor of the device and type to compute in.
        """
        self._move(like)
        encoded, lengths = self.model.encode_features(feats, feat_lengths, self.subnet.name)
        return Taught(encoded, self.ctc.ctc_lo(encoded), lengths)

    @torch.no_grad()
    def features(self, speech: Tensor, speech_lengths: Tensor, like: Tensor) -> tuple:
        """Normalised features ``(B, T, F)`` without SpecAugment, and their lengths ``(B,)``."""
        self._move(like)
        return self.model.extract_features(speech, speech_lengths)

    def _move(self, like: Tensor) -> None:
        own = next(self.model.parameters())
        if own.device != like.device or own.dtype != like.dtype:
            self.model.to(device=like.device, dtype=like.dtype)
