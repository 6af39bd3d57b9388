"""Predictor and joint network of the RNN-T, taken from ``espnet2.asr_transducer``."""

from __future__ import annotations

import inspect
from typing import Any

from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder
from espnet2.asr_transducer.decoder.stateless_decoder import StatelessDecoder
from espnet2.asr_transducer.joint_network import JointNetwork
from torch import nn

from espnet2_supernet.errors import ConfigError, check_keys

PREDICTORS: dict[str, type[nn.Module]] = {"rnn": RNNDecoder, "stateless": StatelessDecoder}


def build_transducer(
    vocab_size: int, encoder_size: int, conf: dict[str, Any]
) -> tuple[nn.Module, JointNetwork]:
    """Build predictor and joint network.

    Args:
        vocab_size: V, blank included as token 0.
        encoder_size: Dimension D of the encoder output.
        conf: ``{predictor: rnn | stateless, predictor_conf: {...}, joint_space_size: int}``.

    Raises:
        ConfigError: If a key or the predictor is unknown.
    """
    where = "model_conf.transducer"
    check_keys(conf, ("predictor", "predictor_conf", "joint_space_size"), where)
    name = conf.get("predictor", "rnn")
    if name not in PREDICTORS:
        raise ConfigError(f"{where}.predictor: unknown '{name}'; choose rnn or stateless")
    options = dict(conf.get("predictor_conf") or {})
    valid = set(inspect.signature(PREDICTORS[name].__init__).parameters) - {"self", "vocab_size"}
    check_keys(options, valid, f"{where}.predictor_conf")
    predictor = PREDICTORS[name](vocab_size, **options)
    joint = JointNetwork(
        vocab_size, encoder_size, predictor.output_size, conf.get("joint_space_size", 256)
    )
    return predictor, joint
