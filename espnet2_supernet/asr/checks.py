"""What a supernet model can be made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espnet2.asr.ctc import CTC
from torch import Tensor, nn

from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.errors import ConfigError, DataError


def checked_encoder(
    encoder: nn.Module | None, unused: tuple[nn.Module | None, ...]
) -> SupernetEncoder:
    """Return the encoder of a model.

    Args:
        encoder: What the configuration made.
        unused: Parts that ESPnet's task can make and this model has no use for.

    Raises:
        ConfigError: If the encoder is no supernet, or there is an unused part.
    """
    if not isinstance(encoder, SupernetEncoder):
        raise ConfigError(
            "model 'supernet' needs encoder: supernet_transformer, supernet_conformer or "
            f"supernet_wav2vec2, got {type(encoder).__name__}"
        )
    if any(part is not None for part in unused):
        raise ConfigError(
            "model 'supernet' takes no preencoder, postencoder, decoder or joint_network; "
            "an RNN-T is set by model_conf.transducer"
        )
    return encoder


def check_losses(ctc: CTC | None, ctc_weight: float, transducer: dict[str, Any] | None) -> None:
    """Refuse losses that would not be computed as configured.

    Args:
        ctc: CTC head; of ``ctc_conf`` only ``dropout_rate`` may differ from the default.
        ctc_weight: Between 0 (RNN-T only) and 1 (CTC only).
        transducer: The block ``model_conf.transducer``.

    Raises:
        ConfigError: Naming the key.
    """
    if not 0 <= ctc_weight <= 1:
        raise ConfigError(f"model_conf.ctc_weight must lie between 0 and 1, got {ctc_weight}")
    if ctc_weight < 1 and transducer is None:
        raise ConfigError(
            f"model_conf.ctc_weight {ctc_weight} leaves weight to an RNN-T: "
            "set model_conf.transducer"
        )
    if ctc_weight == 1 and transducer is not None:
        raise ConfigError(
            "model_conf.transducer would never be trained: lower model_conf.ctc_weight below 1"
        )
    if ctc is None:
        return
    if ctc.ctc_type != "builtin" or not ctc.reduce or not ctc.ctc_loss.zero_infinity:
        raise ConfigError(
            "ctc_conf: model 'supernet' computes the builtin CTC loss, averages it over "
            "utterances and counts an impossible one as zero: leave ctc_type, reduce, "
            "zero_infinity and ignore_nan_grad at their defaults"
        )


def check_frames(lengths: Tensor, utt_id: Sequence[str] | None) -> None:
    """Refuse a batch with an utterance that has nothing to learn from.

    Args:
        lengths: Encoder frames ``(B,)``.
        utt_id: Names of the utterances; their places in the batch stand in for them when None.

    Raises:
        DataError: Naming the first utterance without a frame.
    """
    empty = (lengths == 0).nonzero().flatten()
    if len(empty):
        place = int(empty[0])
        name = f"'{utt_id[place]}'" if utt_id else f"{place} of the batch"
        raise DataError(
            f"utterance {name} is shorter than one encoder frame: drop short utterances with the "
            "command 'data filter' (--min_wav_duration in the recipes)"
        )
