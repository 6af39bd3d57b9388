"""From waveforms to the encoder outputs of one subnet, whole or as a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.damon.keep_rule import KeepRule
from espnet2_supernet.damon.rules import check_blocks, make_rules
from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.encoder.keeper import kept_times
from espnet2_supernet.encoder.streaming import EncoderState
from espnet2_supernet.features import views
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.joint import JointTraining


class SubnetEncoding(JointTraining):
    """The part of a recogniser before its losses and searches.

    Attributes:
        detector: SALAD's detector, if a subnet drops frames by it. It is trained by itself
            (``salad_train``) and has no gradient here.
        rules: Token-keep rules by subnet, of those that drop frames.
    """

    drops_frames = True
    has_heads = True
    frontend: nn.Module | None
    specaug: nn.Module | None
    normalize: nn.Module | None
    encoder: SupernetEncoder
    detector: SaladDetector | None
    rules: dict[str, KeepRule]

    def add_rules(self, detector: dict[str, Any] | None) -> None:
        """Make the token-keep rules of the table; call it after :meth:`add_supernet`.

        Args:
            detector: Sizes of SALAD's detector; its defaults when None.

        Raises:
            ConfigError: If a rule does not fit the encoder, or the sizes are of no use.
        """
        encoder = self.encoder
        self.rules, self.detector = make_rules(
            self.supernet_config, encoder.output_size(), encoder.knows_times, detector
        )
        check_blocks(self.rules, self.supernet_config.subnets, encoder.blocks)

    def extract_features(
        self, speech: Tensor, speech_lengths: Tensor, streaming: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Waveforms ``(B, N)`` to normalised features ``(B, T, F)``, augmented in training."""
        feats, lengths = views.normalized_features(
            self.frontend, self.normalize, speech, speech_lengths, streaming
        )
        # After the normalisation, unlike ESPnet: SpecAugment fills with 0, which is the mean only
        # here; before, it lies one to 2.6 standard deviations above the mean of AN4's bands.
        if self.specaug is not None and self.training:
            feats, lengths = self.specaug(feats, lengths)
        return feats, lengths

    def collect_feats(
        self, speech: Tensor, speech_lengths: Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return what ``--collect_stats`` counts."""
        return views.counted_features(self.frontend, speech, speech_lengths)

    def choose_frames(
        self,
        name: str,
        frames: Tensor,
        feats: Tensor,
        lengths: Tensor,
        needed: Tensor | None = None,
    ) -> Tensor | None:
        """Decide which frames of whole utterances a subnet computes.

        Args:
            name: Subnet.
            frames: Subsampled frames ``(B, T', D)``, without dropout.
            feats: The features they were made of ``(B, T, F)``.
            lengths: Frames of each utterance ``(B,)``.
            needed: Frames to keep at least ``(B,)``.

        Returns:
            Which frames to keep ``(B, T')``; None for all.
        """
        if name not in self.rules or not frames.size(1):
            return None
        used = feats[:, : frames.size(1) * self.encoder.subsampling_factor]
        return self.rules[name].choose(frames, used, lengths, needed)

    def encode_with_times(
        self,
        feats: Tensor,
        feat_lengths: Tensor,
        subnet: str | None = None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode features ``(B, T, F)`` with one subnet under one of its contexts.

        Returns:
            Encoder output ``(B, T', D)``, its lengths ``(B,)``, and the places of its frames among
            those of the utterance ``(B, T')``; None if these are all.

        Raises:
            ConfigError: If there is no such subnet.
        """
        name = subnet or next(iter(self.supernet.subnets))
        raw, lengths = self.encoder.subsampled(feats, feat_lengths)
        keep = self.choose_frames(name, raw, feats, lengths)
        with self.supernet.active_subnet(name) as active:
            out, out_lengths = self.encode_kept(
                name, self.encoder.dropout(raw), lengths, context or active.context, keep
            )
        if keep is None or self.rules[name].restores:
            return out, out_lengths, None
        return out, out_lengths, kept_times(keep)

    def encode_kept(
        self, name: str, frames: Tensor, lengths: Tensor, context: Context, keep: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Encode what a rule leaves of subsampled frames; the subnet must be active.

        Args:
            name: Subnet.
            frames: ``(B, T', D)``.
            lengths: Frames of each utterance ``(B,)``.
            context: One of its contexts.
            keep: Result of :meth:`choose_frames`.

        Returns:
            Encoder output ``(B, T'', D)`` and its lengths ``(B,)``.
        """
        if keep is None:
            return self.encoder.encode_frames(frames, lengths, context)
        rule = self.rules[name]
        frames, _ = rule.combine(frames, keep)
        where = (rule.before_block, rule.restore_before_block, rule.with_change)
        return self.encoder.encode_frames(frames, lengths, context, keep, rule.compacted, *where)

    def encode_features(
        self,
        feats: Tensor,
        feat_lengths: Tensor,
        subnet: str | None = None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The output and the lengths of :meth:`encode_with_times`."""
        return self.encode_with_times(feats, feat_lengths, subnet, context)[:2]

    def encode(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        subnet: str | None = None,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode waveforms ``(B, N)``; by default with the first subnet (ESPnet's contract)."""
        name = subnet or next(iter(self.supernet.subnets))
        context = context or self.supernet.subnet(name).context
        feats, lengths = self.extract_features(speech, speech_lengths, not context.is_full)
        return self.encode_features(feats, lengths, name, context)

    def start_stream(self, subnet: str, context: Context) -> EncoderState:
        """State of a stream of one subnet before its first sample.

        Raises:
            ConfigError: If the context is full.
        """
        with torch.no_grad():
            return self.encoder.init_state(context, keeper=self.rules.get(subnet))
