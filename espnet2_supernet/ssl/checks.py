"""Checks of what a pre-training is configured with, and of its batches."""

from __future__ import annotations

from collections.abc import Sequence

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.supernet.config import SupernetConfig


def check_numbers(
    num_negatives: int,
    logit_temp: float,
    loss_weights: Sequence[float],
    feature_grad_mult: float,
) -> None:
    """Refuse values of ``model_conf`` out of range.

    Args:
        num_negatives: See :class:`SupernetSSLModel`.
        logit_temp: Likewise.
        loss_weights: Likewise.
        feature_grad_mult: Likewise.

    Raises:
        ConfigError: Naming the key.
    """
    if num_negatives < 1:
        raise ConfigError(f"model_conf.num_negatives: at least 1, got {num_negatives}")
    if logit_temp <= 0:
        raise ConfigError(f"model_conf.logit_temp: above 0, got {logit_temp}")
    if len(loss_weights) != 2 or min(loss_weights) < 0:
        raise ConfigError(
            f"model_conf.loss_weights: write [diversity, feature penalty], got {loss_weights}"
        )
    if not 0 < feature_grad_mult <= 1:
        raise ConfigError(f"model_conf.feature_grad_mult: in (0, 1], got {feature_grad_mult}")


def check_table(config: SupernetConfig) -> None:
    """Refuse what pre-training cannot do with a table.

    Raises:
        ConfigError: If a subnet shall teach the others.
    """
    if config.distillation.weight > 0:
        raise ConfigError("supernet_conf.distillation: not in pre-training, set its weight to 0")


def check_frames(frames: int, ids: Sequence[str]) -> None:
    """Refuse a batch in which nothing can be masked or encoded.

    Args:
        frames: Encoder frames of the longest utterance.
        ids: Utterances of the batch.

    Raises:
        DataError: If there is no frame, naming the first utterance.
    """
    if frames == 0:
        raise DataError(
            f"utterance '{ids[0]}' and all {len(ids)} of its batch are shorter than one "
            "encoder frame: drop short utterances with the command 'data filter'"
        )
