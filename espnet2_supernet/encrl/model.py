"""The student: a recogniser whose loss is its distance from a teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor, nn
from torch.nn import functional

from espnet2_supernet.asr.checks import check_frames
from espnet2_supernet.asr.joint_step import JointStep
from espnet2_supernet.asr.losses.distill import ctc_distillation
from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.encrl import losses as distances
from espnet2_supernet.encrl.checks import check_student
from espnet2_supernet.encrl.settings import EncRLSettings
from espnet2_supernet.encrl.teacher import FrozenTeacher, Taught
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.supernet.ranks import gather_rows


@dataclass
class EncRLStep(JointStep):
    """One training step; what the subnets share beside a recogniser's.

    Attributes:
        taught: What the teacher says of the batch.
        utt_id: Utterance ids, for messages.
    """

    taught: Taught | None = None
    utt_id: Sequence[str] | None = None


class SupernetEncRLModel(SupernetASRModel):
    """Student of a frozen teacher; each of its subnets copies the same outputs.

    The loss of a subnet is

        sum over mse, mae, kl of weight * frame-level distance of the CTC heads' outputs
        + clip * contrastive loss of the utterances' pooled encoder outputs
        + asr * the recogniser's own loss.

    Features, and with them SpecAugment, are computed once for student and teacher. The student
    is a recogniser: its checkpoints are decoded, fine-tuned and extracted as any other's. Only
    training needs a teacher, see :meth:`set_teacher`.

    Args:
        vocab_size: See :class:`SupernetASRModel`, also for what follows.
        token_list: Likewise.
        frontend: Likewise; its features must not be learnt.
        specaug: Likewise.
        normalize: Likewise.
        preencoder: Likewise.
        encoder: Likewise.
        postencoder: Likewise.
        decoder: Likewise.
        ctc: Likewise; the heads copy the teacher's.
        joint_network: Likewise.
        supernet_conf: Likewise.
        ctc_weight: Likewise; 1 unless ``losses.asr`` has a weight.
        transducer: Likewise.
        max_lattice_cells: Likewise.
        losses: See :class:`EncRLSettings`, also for what follows.
        outputs: Likewise.
        clip: Likewise.
        clean_teacher: Likewise.

    Raises:
        ConfigError: If a value is out of range or the parts do not fit each other.
    """

    drops_frames = False  # it is compared with its teacher frame by frame

    def __init__(
        self,
        vocab_size: int,
        token_list: list[str] | tuple[str, ...],
        frontend: nn.Module | None,
        specaug: nn.Module | None,
        normalize: nn.Module | None,
        preencoder: nn.Module | None,
        encoder: nn.Module | None,
        postencoder: nn.Module | None,
        decoder: nn.Module | None,
        ctc: CTC | None,
        joint_network: nn.Module | None,
        supernet_conf: dict[str, Any] | None = None,
        ctc_weight: float = 1.0,
        transducer: dict[str, Any] | None = None,
        max_lattice_cells: int = 50_000_000,
        losses: dict[str, float] | None = None,
        outputs: str = "log_softmax",
        clip: dict[str, Any] | None = None,
        clean_teacher: bool = False,
    ) -> None:
        parts = (frontend, specaug, normalize, preencoder, encoder, postencoder, decoder, ctc)
        super().__init__(
            vocab_size, token_list, *parts, joint_network, supernet_conf, ctc_weight, transducer,
            max_lattice_cells,
        )  # fmt: skip
        self.settings = EncRLSettings.parse(losses, outputs, clip, clean_teacher)
        check_student(self, self.settings)
        # the logarithm, as CLIP learns it: the factor stays above 0
        self.log_scale: nn.Parameter | None = None
        if self.settings.learn_scale and self.settings.has("clip"):
            self.log_scale = nn.Parameter(torch.tensor(math.log(self.settings.scale)))
        self.teacher: FrozenTeacher | None = None

    def set_teacher(self, teacher: FrozenTeacher) -> None:
        """Give the student its teacher, whose features must be the student's.

        Raises:
            ConfigError: If CLIP cannot compare the encoder outputs.
        """
        sizes = (teacher.model.encoder.output_size(), self.encoder.output_size())
        if self.settings.has("clip") and sizes[0] != sizes[1]:
            raise ConfigError(
                f"model_conf.losses.clip compares encoder outputs, but encoder_conf.output_size is "
                f"{sizes[0]} in the teacher and {sizes[1]} in the student: make them equal, or "
                "set clip to 0"
            )
        self.teacher = teacher

    def forward(  # type: ignore[override]  # text is optional here
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor | None = None,
        text_lengths: Tensor | None = None,
        utt_id: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor | None], Tensor]:
        """Distance of a batch from the teacher.

        Args:
            speech: Waveforms ``(B, N)``.
            speech_lengths: Samples ``(B,)``.
            text: Token ids ``(B, U)``; only ``losses.asr`` needs them.
            text_lengths: ``(B,)``.
            utt_id: Utterance ids, for messages.
            **kwargs: Other data of ESPnet's batches, ignored.

        Returns:
            Loss, statistics for each subnet, and the batch size as weight.

        Raises:
            ConfigError: If there is no teacher.
            DataError: If an utterance is shorter than one encoder frame, CLIP has only one, or
                text is missing.
        """
        rows = self._plan()
        feats, feat_lengths = self.extract_features(speech, speech_lengths)
        taught = self._teach(feats, feat_lengths, speech, speech_lengths)
        frames, lengths = self.encoder.subsample(feats, feat_lengths)
        check_frames(lengths, utt_id)
        text, text_lengths = self._checked_text(speech, text, text_lengths)
        predicted = self._predict(text)
        step = EncRLStep(lengths, text, text_lengths, [False], taught=taught, utt_id=utt_id)
        passes = [partial(self._subnet_loss, step, *row) for row in rows]
        loss = self.sum_losses(passes, (frames,) if predicted is None else (frames, predicted))
        step.note("loss", loss)
        if self.log_scale is not None:
            step.note("clip_scale", self.log_scale.exp())
        batch_size = torch.tensor(speech.size(0), device=loss.device)
        return force_gatherable((loss, step.stats, batch_size), loss.device)

    def _teach(
        self, feats: Tensor, feat_lengths: Tensor, speech: Tensor, speech_lengths: Tensor
    ) -> Taught:
        if self.teacher is None:
            raise ConfigError("model 'encrl' has no teacher: train it with encrl_train")
        like = next(self.parameters())
        if self.settings.clean_teacher:
            feats, feat_lengths = self.teacher.features(speech, speech_lengths, like)
        return self.teacher.teach(feats, feat_lengths, like)

    def _checked_text(
        self, speech: Tensor, text: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Token ids ``(B, U)``, blank beyond each length; empty where nobody needs them."""
        if not self.settings.has("asr"):
            empty = torch.zeros(len(speech), dtype=torch.int64, device=speech.device)
            return empty[:, None][:, :0], empty
        if text is None or lengths is None:
            raise DataError(
                "model_conf.losses.asr needs the transcripts: give <set>/text,text,text"
            )
        positions = torch.arange(text.size(1), device=text.device)
        return text.masked_fill(positions >= lengths[:, None], self.blank_id), lengths

    def _loss_of(self, step: JointStep, name: str, enc: Tensor, predicted: Tensor | None) -> Tensor:
        """Loss of encoder outputs ``(B, T, D)``, a scalar; notes its parts in ``step``."""
        ctc = self.ctc_of(name)
        assert isinstance(step, EncRLStep) and step.taught is not None and ctc is not None
        taught, weights = step.taught, self.settings.weights
        logits = ctc.ctc_lo(enc)
        loss = 0.0 * logits.sum()  # every weight has a gradient, as DistributedDataParallel wants
        for kind, distance in self._distances(taught.logits, logits, step.lengths).items():
            loss = loss + weights[kind] * step.note(f"loss_{kind}_{name}", distance)
        if self.settings.has("clip"):
            clip, retrieval = self._clip(step, taught, enc)
            loss = loss + weights["clip"] * step.note(f"loss_clip_{name}", clip)
            step.note(f"retrieval_{name}", retrieval)
        agreement = distances.agreement(taught.logits, logits.detach(), step.lengths)
        step.note(f"agreement_{name}", agreement)
        if self.settings.has("asr"):
            asr = super()._loss_of(step, name, enc, predicted)
            loss = loss + weights["asr"] * step.note(f"loss_asr_{name}", asr)
        return loss

    def _distances(self, teacher: Tensor, student: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Frame-level distances that have a weight, from logits ``(B, T, V)``."""
        theirs, own = (functional.log_softmax(one.float(), dim=-1) for one in (teacher, student))
        if self.settings.outputs == "log_softmax":
            teacher, student = theirs, own
        known = {
            "mse": lambda: distances.mse(teacher, student, lengths),
            "mae": lambda: distances.mae(teacher, student, lengths),
            "kl": lambda: ctc_distillation(theirs, own, lengths).mean(),
        }
        return {kind: compute() for kind, compute in known.items() if self.settings.has(kind)}

    def _clip(self, step: EncRLStep, taught: Taught, enc: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP over the batch of all ranks: loss and retrieval accuracy."""
        pooled = [distances.pool(one, step.lengths) for one in (taught.encoded, enc)]
        if self.settings.normalize:
            pooled = [functional.normalize(one, dim=-1) for one in pooled]
        teacher, student = (gather_rows(one) for one in pooled)
        scale = self.settings.scale if self.log_scale is None else self.log_scale.exp()
        return distances.clip(teacher, student, scale, step.utt_id)
