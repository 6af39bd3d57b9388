"""What a student can be made of."""

from __future__ import annotations

from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.encrl.settings import EncRLSettings
from espnet2_supernet.errors import ConfigError


def check_student(model: SupernetASRModel, settings: EncRLSettings) -> None:
    """Refuse a student whose losses could not be computed as configured.

    Args:
        model: The student, which has all its parts.
        settings: What it copies.

    Raises:
        ConfigError: Naming the key.
    """
    if model.ctc is None:
        raise ConfigError(
            "model 'encrl' copies the outputs of a CTC head: model_conf.ctc_weight above 0"
        )
    if model.predictor is not None and not settings.has("asr"):
        raise ConfigError(
            "model_conf.transducer would not be trained: give model_conf.losses.asr a weight, "
            "or leave the RNN-T to fine-tuning"
        )
    if model.supernet_config.distillation.weight > 0 and not settings.has("asr"):
        raise ConfigError("supernet_conf.distillation belongs to model_conf.losses.asr")
    if getattr(model.frontend, "learned", False):
        raise ConfigError(
            "frontend waveform_conv learns its features, and student and teacher of "
            "model 'encrl' share them: use log_mel"
        )
