"""Training of SALAD's detector on the labels of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.damon.labels import salient
from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.encoder.stack import BlockStack
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.features import views
from espnet2_supernet.supernet.context import Context


class FrozenFront(nn.Module):
    """A trained recogniser up to its first block, which does not change.

    Args:
        frontend: Waveform to features.
        normalize: Feature normalisation, or None.
        encoder: Its encoder; the blocks are taken out of it.
    """

    def __init__(
        self, frontend: nn.Module, normalize: nn.Module | None, encoder: SupernetEncoder
    ) -> None:
        super().__init__()
        self.frontend, self.normalize, self.encoder = frontend, normalize, encoder
        encoder.blocks, encoder.norm = BlockStack([]), nn.Identity()
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenFront:
        """Stay as in decoding: no dropout."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what the detector reads.

        Args:
            speech: Waveforms ``(B, N)``.
            speech_lengths: Samples ``(B,)``.

        Returns:
            Frames ``(V * B, T, D)``, for each of the V kinds of features that subnets may see,
            and lengths ``(V * B,)``.
        """
        kinds = views.feature_views(self.frontend, [Context(), Context(chunk_size=1)])
        compute = partial(
            views.normalized_features, self.frontend, self.normalize, speech, speech_lengths
        )
        feats, lengths = views.stack_views(compute, kinds)
        return self.encoder.subsampled(feats, lengths.repeat(len(kinds)))


class SaladModel(AbsESPnetModel):
    """Detector of salient frames, with a weighted binary cross-entropy as its loss.

    A lost salient frame is an error of the recogniser, a kept other one costs time only: so the
    former weighs more (our choice; the paper's loss is not known).

    Args:
        front: The recogniser that will drop frames, up to its first block.
        channels: See :class:`SaladDetector`.
        kernel_size: See :class:`SaladDetector`.
        num_layers: See :class:`SaladDetector`.
        first_n: How many frames of each run are salient.
        positive_weight: Weight of a salient frame; that of another one is 1.

    Raises:
        ConfigError: If a value is out of range.
    """

    def __init__(
        self,
        front: FrozenFront,
        channels: int = 64,
        kernel_size: int = 9,
        num_layers: int = 2,
        first_n: int = 1,
        positive_weight: float = 4.0,
    ) -> None:
        super().__init__()
        if not isinstance(positive_weight, (int, float)) or not 0 < positive_weight < 1e6:
            raise ConfigError(f"model_conf.positive_weight: above 0, got {positive_weight!r}")
        if isinstance(first_n, bool) or not isinstance(first_n, int) or first_n < 1:
            raise ConfigError(f"model_conf.first_n: a whole number from 1, got {first_n!r}")
        self.front = front
        size = front.encoder.output_size()
        self.detector = SaladDetector(size, channels, kernel_size, num_layers)
        self.first_n, self.positive_weight = first_n, float(positive_weight)

    def collect_feats(
        self, speech: Tensor, speech_lengths: Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return what ``--collect_stats`` counts: samples, for the lengths of the batches."""
        return {"feats": speech, "feats_lengths": speech_lengths}

    def scores(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        labels: Tensor,
        labels_lengths: Tensor,
        utt_id: Sequence[str] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score frames and say which are salient.

        Args:
            speech: Waveforms ``(B, N)``.
            speech_lengths: Samples ``(B,)``.
            labels: The teacher's labels ``(B, T)``.
            labels_lengths: Frames ``(B,)``.
            utt_id: Utterance ids, for messages.

        Returns:
            Log-odds ``(V * B, T)``, targets, and which of them exist, both boolean of this shape.

        Raises:
            DataError: If an utterance has not as many labels as frames.
        """
        frames, lengths = self.front(speech, speech_lengths)
        num_views = len(lengths) // len(labels)
        _check_lengths(lengths[: len(labels)], labels_lengths, utt_id)
        targets = torch.zeros(len(labels), frames.size(1), dtype=torch.bool)
        for row, one, n in zip(targets, labels.cpu(), labels_lengths.tolist(), strict=True):
            row[:n] = torch.from_numpy(salient(one[:n].numpy(), self.first_n))
        valid = torch.arange(frames.size(1), device=lengths.device) < lengths[:, None]
        scores, _ = self.detector(frames)
        return scores, targets.to(scores.device).repeat(num_views, 1), valid

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        labels: Tensor,
        labels_lengths: Tensor,
        utt_id: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss of a batch; arguments as of :meth:`scores`.

        Returns:
            Mean over frames, statistics (recall, precision and keep ratio at probability 1/2), and
            the number of frames as weight.
        """
        args = (speech, speech_lengths, labels, labels_lengths, utt_id)
        scores, targets, valid = self.scores(*args)
        scores, targets = scores[valid].float(), targets[valid]
        weight = torch.tensor(self.positive_weight, device=scores.device)
        loss = binary_cross_entropy_with_logits(scores, targets.float(), pos_weight=weight)
        kept = scores >= 0
        hits = (kept & targets).sum()
        stats = {
            "loss": loss.detach(),
            "recall": hits / targets.sum().clamp(min=1),
            "precision": hits / kept.sum().clamp(min=1),
            "keep_ratio": kept.float().mean(),
        }
        frames = torch.tensor(len(scores), device=loss.device)
        return force_gatherable((loss, stats, frames), loss.device)


def _check_lengths(lengths: Tensor, labels_lengths: Tensor, utt_id: Sequence[str] | None) -> None:
    """Refuse labels of other frames."""
    wrong = torch.nonzero(lengths != labels_lengths)[:, 0].tolist()
    if wrong:
        i = wrong[0]
        name = utt_id[i] if utt_id is not None else str(i)
        raise DataError(
            f"utterance '{name}': {int(labels_lengths[i])} labels for {int(lengths[i])} frames; "
            "the labels are of other sounds, or of a teacher with another subsampling"
        )
