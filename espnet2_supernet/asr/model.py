"""The recogniser: one set of weights, one loss for each subnet, one sum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.asr_transducer.decoder.abs_decoder import AbsDecoder
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn
from torch.nn import functional

from espnet2_supernet.asr.checks import check_frames, check_losses, checked_encoder
from espnet2_supernet.asr.encoding import SubnetEncoding
from espnet2_supernet.asr.heads import CTCHeads
from espnet2_supernet.asr.joint_step import JointStep
from espnet2_supernet.asr.losses.transducer import transducer_loss
from espnet2_supernet.asr.transducer import build_transducer
from espnet2_supernet.damon.feasibility import frames_needed
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features import views
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.sampling import Draw
from espnet2_supernet.supernet.subnet import Subnet


class SupernetASRModel(SubnetEncoding, ESPnetASRModel):
    """CTC and/or RNN-T model over a supernet encoder.

    The loss of a step is the weighted sum over the subnets drawn for it; each subnet's own loss
    is ``ctc_weight * CTC + (1 - ctc_weight) * RNN-T``, averaged over utterances, plus the
    in-place distillation from the teacher subnet if it has a weight.

    It is an ``ESPnetASRModel`` so that stock ESPnet tools can load it; they see the first subnet.

    Args:
        vocab_size: V.
        token_list: V tokens, ``<blank>`` first.
        frontend: Waveform to features.
        specaug: Augmentation of the features in training, drawn once for all subnets.
        normalize: Feature normalisation.
        preencoder: Must be None.
        encoder: A supernet encoder.
        postencoder: Must be None.
        decoder: Must be None: attention decoders cannot stream; RNN-T is set by ``transducer``.
        ctc: CTC head, of the subnets without one of their own.
        joint_network: Must be None, as ``decoder``.
        supernet_conf: The table of subnets, see :class:`SupernetConfig`.
        ctc_weight: Between 0 (RNN-T only) and 1 (CTC only).
        transducer: See :func:`build_transducer`; needed when ``ctc_weight < 1``.
        max_lattice_cells: Bound on the logits that the RNN-T loss holds at once, in numbers.
        detector: Sizes of SALAD's detector, ``{channels: 64, kernel_size: 9, num_layers: 2}``,
            when a subnet drops frames by it.

    Raises:
        ConfigError: If the parts do not fit each other.
    """

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
        detector: dict[str, Any] | None = None,
    ) -> None:
        # Not ESPnetASRModel's own __init__: it builds an attention decoder's loss and imports
        # warprnnt for a transducer.
        AbsESPnetModel.__init__(self)
        unused = (preencoder, postencoder, decoder, joint_network)
        encoder = checked_encoder(encoder, unused)
        check_losses(ctc, ctc_weight, transducer)
        self.token_list, self.vocab_size = list(token_list), vocab_size
        self.blank_id, self.sos, self.eos, self.ignore_id = 0, vocab_size - 1, vocab_size - 1, -1
        self.frontend, self.specaug, self.normalize = frontend, specaug, normalize
        self.encoder = encoder
        # ESPnet's tools look at these
        self.preencoder = self.postencoder = self.decoder = None
        self.use_transducer_decoder = False
        self.ctc = ctc if ctc_weight > 0 else None
        self.predictor: AbsDecoder | None = None
        self.joint_network: nn.Module | None = None
        if ctc_weight < 1:
            self.predictor, self.joint_network = build_transducer(
                vocab_size, encoder.output_size(), transducer or {}
            )
        self.ctc_weight, self.max_lattice_cells = ctc_weight, max_lattice_cells
        self.add_supernet(encoder, supernet_conf)
        self.add_rules(detector)
        self.ctc_heads = CTCHeads(self.supernet_config, self.ctc, self.predictor is None)
        if self.supernet_config.distillation.weight > 0 and self.ctc is None:
            raise ConfigError("supernet_conf.distillation needs a CTC head: model_conf.ctc_weight")

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        utt_id: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor | None], Tensor]:
        """Joint loss of a batch.

        Args:
            speech: Waveforms ``(B, N)``.
            speech_lengths: Samples ``(B,)``.
            text: Token ids ``(B, U)``; entries beyond a length are ignored.
            text_lengths: ``(B,)``.
            utt_id: Utterance ids, for messages.
            **kwargs: Other data of ESPnet's batches, ignored.

        Returns:
            Loss, statistics for each subnet, and the batch size as weight.

        Raises:
            DataError: If an utterance is shorter than one encoder frame.
        """
        rows = self._plan()
        kinds = views.feature_views(self.frontend, [context for _, context, _ in rows])
        extract = partial(self.extract_features, speech, speech_lengths)
        feats, lengths = views.stack_views(extract, kinds)
        raw, lengths = self.encoder.subsampled(feats, lengths.repeat(len(kinds)))
        frames, lengths = self.encoder.dropout(raw), lengths[: len(speech)]
        check_frames(lengths, utt_id)
        positions = torch.arange(text.size(1), device=text.device)
        text = text.masked_fill(positions >= text_lengths[:, None], self.blank_id)
        predicted = self._predict(text)
        step = JointStep(lengths, text, text_lengths, kinds)
        self._choose(step, rows, raw, feats)
        passes = [partial(self._subnet_loss, step, *row) for row in rows]
        loss = self.sum_losses(passes, (frames,) if predicted is None else (frames, predicted))
        step.stats["loss"] = loss.detach()
        batch_size = torch.tensor(speech.size(0), device=loss.device)
        return force_gatherable((loss, step.stats, batch_size), loss.device)

    def ctc_of(self, name: str) -> CTC | None:
        """Return the CTC head of a subnet: the shared one, or its own; None without CTC."""
        return self.ctc_heads.own(name) or self.ctc

    def _plan(self) -> list[Draw]:
        # the teacher first: its posteriors are the students' targets
        return sorted(self.draw_subnets(), key=lambda row: row[0].name != self._teacher_name())

    def _choose(self, step: JointStep, rows: list[Draw], raw: Tensor, feats: Tensor) -> None:
        """Note which frames each subnet of the step computes, of ``(V * B, T', D)``."""
        if not self.rules:
            return
        needed = frames_needed(step.text, step.text_lengths)
        for subnet, context, _ in rows:
            seen, made_of = (views.view_of(x, step.views, context) for x in (raw, feats))
            least = needed if self._needs_path(subnet.name) else None
            keep = self.choose_frames(subnet.name, seen, made_of, step.lengths, least)
            if keep is not None:
                step.keep[subnet.name] = keep

    def _needs_path(self, name: str) -> bool:
        """Whether a subnet keeps at least what CTC needs: in training, as decoding has no text."""
        return self.training and self.ctc_of(name) is not None and not self._restores(name)

    def _restores(self, name: str) -> bool:
        """Whether a subnet has an output for every frame, those that it drops included."""
        return name in self.rules and self.rules[name].restores

    def _teacher_name(self) -> str:
        return self.supernet_config.distillation.teacher or next(iter(self.supernet.subnets))

    def _predict(self, text: Tensor) -> Tensor | None:
        """Predictor output ``(B, U + 1, D)``, shared by the subnets."""
        if self.predictor is None:
            return None
        self.predictor.set_device(text.device)
        return self.predictor(functional.pad(text, (1, 0), value=self.blank_id))

    def _subnet_loss(
        self,
        step: JointStep,
        subnet: Subnet,
        context: Context,
        weight: float,
        frames: Tensor,
        predicted: Tensor | None = None,
    ) -> Tensor:
        """Weighted loss of one subnet, a scalar; notes its parts in ``step``."""
        seen = views.view_of(frames, step.views, context)
        with self.supernet.active_subnet(subnet.name):
            keep = step.keep.get(subnet.name)
            enc, _ = self.encode_kept(subnet.name, seen, step.lengths, context, keep)
        if keep is not None:
            step.note_kept(subnet.name, keep)
            step = step if self._restores(subnet.name) else step.of_kept(keep)
        loss = self._loss_of(step, subnet.name, enc, predicted)
        return weight * step.note(f"loss_{subnet.name}", loss)

    def _loss_of(self, step: JointStep, name: str, enc: Tensor, predicted: Tensor | None) -> Tensor:
        """Loss of encoder outputs ``(B, T, D)``, a scalar; notes its parts in ``step``."""
        loss = enc.new_zeros(())
        ctc = self.ctc_of(name)
        if ctc is not None:
            dropped = functional.dropout(enc, ctc.dropout_rate, self.training)
            log_probs = ctc.log_softmax(dropped)
            loss = loss + self.ctc_weight * step.ctc_loss(name, log_probs)
            loss = loss + self._distillation(step, name, log_probs)
            if not self.training:
                step.note_error_rates(name, log_probs, self.token_list)
        if self.joint_network is not None and predicted is not None:
            args = (self.joint_network, enc, step.lengths, predicted, step.text, step.text_lengths)
            rnnt = transducer_loss(*args, self.blank_id, self.max_lattice_cells).mean()
            loss = loss + (1 - self.ctc_weight) * step.note(f"loss_rnnt_{name}", rnnt)
        return loss

    def _distillation(self, step: JointStep, name: str, log_probs: Tensor) -> Tensor | float:
        weight = self.supernet_config.distillation.weight
        if weight == 0 or not self.training:
            return 0.0
        if name == self._teacher_name():
            step.teacher_log_probs = log_probs.detach()
            return 0.0
        return weight * step.distillation_loss(name, log_probs)
