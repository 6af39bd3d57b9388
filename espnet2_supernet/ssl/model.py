"""wav2vec 2.0 on a supernet: every subnet tells the same targets from the same negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn

from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features import views
from espnet2_supernet.ssl.checks import check_frames, check_numbers, check_table
from espnet2_supernet.ssl.collapse import collapse_warnings
from espnet2_supernet.ssl.heads import Wav2Vec2Heads, scale_gradient
from espnet2_supernet.ssl.losses import BatchTerms, contrastive_loss
from espnet2_supernet.ssl.plan import Plan
from espnet2_supernet.ssl.quantizer import GumbelQuantizer
from espnet2_supernet.ssl.seeds import utterance_seeds
from espnet2_supernet.ssl.spans import SpanMasking
from espnet2_supernet.ssl.step import SSLStep
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.joint import JointTraining
from espnet2_supernet.supernet.sampling import Draw
from espnet2_supernet.supernet.subnet import Subnet


class SupernetSSLModel(JointTraining, AbsESPnetModel):
    """Joint self-supervised model of all subnets.

    Features, span masks, quantised targets and negatives are made once for a batch. Each subnet
    then encodes the same masked frames under its own context and mask, and has a contrastive loss
    of its own; the total is

        sum over subnets of weight * contrastive + loss_weights[0] * taught * diversity
        + loss_weights[1] * feature penalty,

    where ``taught`` is the weight of the contrastive losses that move the targets. So the quantiser
    sees fairseq's balance of both, however the subnets share the loss: with half of it for a
    streaming subnet that does not teach, and diversity in full, codes are spread twice as hard
    (our choice; on AN4 their perplexity was then 138 to 159, where training alone has 45).

    The targets are quantised from the encoder's latents, before its blocks and before masking; a
    front-end with other features for full context gives full-context ones, if such a subnet is
    trained. Names of arguments are fairseq's where it has them.

    Args:
        frontend: Waveform to features.
        normalize: Normalisation of the features, or None.
        encoder: A supernet encoder.
        supernet_conf: The table of subnets, see :class:`SupernetConfig`.
        mask_prob: See :class:`SpanMasking`.
        mask_length: Likewise, in encoder frames (fairseq's are of 20 ms).
        mask_min_masks: Likewise.
        num_negatives: Negatives K of each masked frame.
        logit_temp: Temperature of the contrastive logits.
        final_dim: Dimension in which context and target are compared.
        latent_vars: See :class:`GumbelQuantizer`.
        latent_groups: Likewise.
        latent_dim: Likewise; ``final_dim`` when 0.
        latent_temp: Likewise.
        loss_weights: Weights of diversity and feature penalty, in this order.
        dropout_features: Dropout of the quantiser's input.
        feature_grad_mult: Factor of the gradients that reach the latents.
        detach_streaming_targets: Keep the streaming subnets' losses from moving the targets, as
            UFO2 (arXiv 2210.14515) does; without a full-context subnet nothing is detached, or
            nothing would teach the quantiser.
        seed: Seed of spans, negatives and Gumbel noise.

    Raises:
        ConfigError: If a value is out of range or the parts do not fit each other.
    """

    def __init__(
        self,
        frontend: nn.Module,
        normalize: nn.Module | None,
        encoder: nn.Module,
        supernet_conf: dict[str, Any] | None = None,
        mask_prob: float = 0.65,
        mask_length: int = 5,
        mask_min_masks: int = 2,
        num_negatives: int = 100,
        logit_temp: float = 0.1,
        final_dim: int = 256,
        latent_vars: int = 320,
        latent_groups: int = 2,
        latent_dim: int = 0,
        latent_temp: Sequence[float] = (2.0, 0.5, 0.999995),
        loss_weights: Sequence[float] = (0.1, 0.0),
        dropout_features: float = 0.1,
        feature_grad_mult: float = 1.0,
        detach_streaming_targets: bool = True,
        seed: int = 0,
    ) -> None:
        AbsESPnetModel.__init__(self)
        if not isinstance(encoder, SupernetEncoder):
            raise ConfigError(
                "pre-training needs encoder: supernet_transformer, supernet_conformer or "
                f"supernet_wav2vec2, got {type(encoder).__name__}"
            )
        check_numbers(num_negatives, logit_temp, loss_weights, feature_grad_mult)
        self.frontend, self.normalize, self.encoder = frontend, normalize, encoder
        self.masking = SpanMasking(mask_prob, mask_length, mask_min_masks)
        self.num_negatives, self.logit_temp = num_negatives, logit_temp
        self.diversity_weight, self.penalty_weight = map(float, loss_weights)
        self.feature_grad_mult, self.seed = feature_grad_mult, seed
        size, dim = encoder.latent_size, latent_dim or final_dim
        quantizer = GumbelQuantizer(size, latent_vars, latent_groups, dim, latent_temp)
        norm = nn.Identity() if encoder.normalizes_latents else nn.LayerNorm(size)
        self.heads = Wav2Vec2Heads(
            encoder.output_size(), final_dim, quantizer, dropout_features, norm
        )
        self.add_supernet(encoder, supernet_conf)
        check_table(self.supernet_config)
        contexts = [c for subnet in self.supernet.subnets.values() for c in subnet.contexts]
        has_full = any(context.is_full for context in contexts)
        self.detach_streaming_targets = detach_streaming_targets and has_full

    def extract_features(
        self, speech: Tensor, speech_lengths: Tensor, streaming: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Waveforms ``(B, N)`` to normalised features ``(B, T, F)`` and their lengths ``(B,)``."""
        return views.normalized_features(
            self.frontend, self.normalize, speech, speech_lengths, streaming
        )

    def collect_feats(
        self, speech: Tensor, speech_lengths: Tensor, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return what ``--collect_stats`` counts; arguments as for :meth:`forward`."""
        return views.counted_features(self.frontend, speech, speech_lengths)

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        utt_id: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor | None], Tensor]:
        """Joint loss of a batch.

        A batch without any masked frame (all utterances are shorter than a span) has only the
        feature penalty.

        Args:
            speech: Waveforms ``(B, N)``.
            speech_lengths: Samples ``(B,)``.
            utt_id: Utterance ids, from which spans, negatives and noise are drawn; the places in
                the batch stand in for them when None.
            **kwargs: Other data of ESPnet's batches, ignored.

        Returns:
            Loss, statistics for each subnet, and the number of masked frames as weight.

        Raises:
            DataError: If no utterance is as long as one encoder frame.
        """
        ids = utt_id or [str(place) for place in range(len(speech))]
        number, rows = int(self.num_batches), self.draw_subnets()
        kinds = views.feature_views(self.frontend, [context for _, context, _ in rows])
        latents, lengths = self._latents(speech, speech_lengths, kinds)
        check_frames(latents.size(1), ids)
        plan = self._draw_plan(ids, lengths, number)
        for_quantizer, frames = self.encoder.project(latents)
        quantized, targets = self.heads.targets(for_quantizer[: len(ids)], plan)
        step = SSLStep(plan, lengths, kinds, self.heads.quantizer.code_ids(quantized.codes))
        passes = [partial(self._subnet_loss, step, *row) for row in rows]
        loss = self.sum_losses(passes, (self.heads.mask(frames, plan), targets))
        steps = torch.arange(latents.size(1), device=latents.device)
        terms = BatchTerms.compute(quantized, latents[: len(ids)][steps < lengths[:, None]])
        loss = loss + self._regularizers(terms, rows)
        # Every parameter has a gradient in every step, as DistributedDataParallel wants it.
        loss = loss + 0.0 * targets.sum()
        self._note(step.stats, loss, terms, plan, lengths)
        weight = torch.tensor(max(len(plan.rows), 1), device=loss.device)
        return force_gatherable((loss, step.stats, weight), loss.device)

    def epoch_warnings(self, stats: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the statistics of a validation; see :mod:`.collapse`."""
        quantizer = self.heads.quantizer
        return collapse_warnings(stats, list(self.supernet.subnets), quantizer.latent_vars)

    def _latents(
        self, speech: Tensor, speech_lengths: Tensor, kinds: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        """Latents of every kind of features ``(V * B, T, L)`` and their lengths ``(B,)``."""
        extract = partial(self.extract_features, speech, speech_lengths)
        feats, lengths = views.stack_views(extract, kinds)
        latents, lengths = self.encoder.latents(feats, lengths.repeat(len(kinds)))
        return scale_gradient(latents, self.feature_grad_mult), lengths[: len(speech)]

    def _draw_plan(self, ids: Sequence[str], lengths: Tensor, number: int) -> Plan:
        # The same spans in every validation, so that epochs can be compared.
        seeds = utterance_seeds(self.seed, number if self.training else -1, ids)
        return Plan.draw(self.masking, self.num_negatives, lengths.tolist(), seeds, lengths.device)

    def _regularizers(self, terms: BatchTerms, rows: Sequence[Draw]) -> Tensor:
        """Weighted diversity and feature penalty, a scalar."""
        taught = sum(weight for _, context, weight in rows if self._teaches(context))
        diversity = self.diversity_weight * taught * terms.diversity
        return diversity + self.penalty_weight * terms.penalty

    def _teaches(self, context: Context) -> bool:
        """Whether a subnet's loss moves the targets."""
        return context.is_full or not self.detach_streaming_targets

    def _subnet_loss(
        self,
        step: SSLStep,
        subnet: Subnet,
        context: Context,
        weight: float,
        masked: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """Weighted loss of one subnet, a scalar; notes its parts in ``step``."""
        with self.supernet.active_subnet(subnet.name):
            seen = views.view_of(masked, step.views, context)
            encoded, _ = self.encoder.encode_frames(seen, step.lengths, context)
        found = self.heads.final_proj(encoded[step.plan.mask])
        if not self._teaches(context):
            targets = targets.detach()
        loss, accuracy = contrastive_loss(found, targets, step.code_ids, step.plan, self.logit_temp)
        step.stats[f"loss_{subnet.name}"] = loss.detach()
        step.stats[f"accuracy_{subnet.name}"] = accuracy
        return weight * loss

    def _note(
        self, stats: dict[str, Any], loss: Tensor, terms: BatchTerms, plan: Plan, lengths: Tensor
    ) -> None:
        """Add the statistics that are not a subnet's."""
        stats["loss"] = loss.detach()
        stats["loss_diversity"] = terms.diversity.detach()
        stats["loss_penalty"] = terms.penalty.detach()
        for number, perplexity in enumerate(terms.code_perplexity):
            stats[f"code_perplexity_{number}"] = perplexity
        stats["prob_perplexity"] = terms.prob_perplexity.sum()
        stats["temperature"] = self.heads.quantizer.temperature
        stats["masked"] = plan.mask.sum() / lengths.sum()
