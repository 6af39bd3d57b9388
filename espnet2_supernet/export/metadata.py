"""What an ONNX graph says about itself: strings in ``metadata_props``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import espnet2_supernet
from espnet2_supernet.encoder.subsampling import FACTOR
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LOG_FLOOR, LogMelFrontend
from espnet2_supernet.supernet.context import Context

FORMAT = "1"


def feature_conf(frontend: Any, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything needed to compute the features elsewhere.

    Args:
        frontend: The front-end.
        conf: ``frontend_conf`` of the training.

    Raises:
        ConfigError: If the front-end is none that can be exported.
    """
    if type(frontend) is not LogMelFrontend:
        raise ConfigError(
            f"front-end {type(frontend).__name__} cannot be exported to ONNX; log_mel can"
        )
    return {
        "kind": "log_mel",
        "sample_rate": frontend.fs,
        "num_mels": frontend.n_mels,
        "n_fft": frontend.n_fft,
        "win_length": frontend.win_length,
        "hop_length": frontend.hop_length,
        "fmin": conf.get("fmin", 20.0),
        "fmax": conf.get("fmax") or frontend.fs / 2,
        "window": "hann, periodic",
        "mel_scale": "htk, triangles of height 1",
        "spectrum": "power",
        "center": False,
        "log": "natural",
        "floor": LOG_FLOOR,
        "sample_range": "[-1, 1]",
    }


def common_metadata(model: Any, args: Any, subnet: str) -> dict[str, str]:
    """Return what all graphs of a subnet say.

    Args:
        model: A ``SupernetASRModel``.
        args: Options of the training: ``token_type`` and ``frontend_conf``.
        subnet: Name of the subnet.

    Raises:
        ConfigError: If the front-end is none that can be exported.
    """
    features = feature_conf(model.frontend, getattr(args, "frontend_conf", None) or {})
    kind = "conformer" if hasattr(model.encoder.blocks[0], "convolution") else "transformer"
    entries = {
        "model_type": f"espnet2_supernet_{kind}",
        "format": FORMAT,
        "version": espnet2_supernet.__version__,
        "subnet": subnet,
        "vocab_size": len(model.token_list),
        "blank_id": model.blank_id,
        "tokens": json.dumps(list(model.token_list), ensure_ascii=False),
        "token_type": getattr(args, "token_type", None) or "",
        "sample_rate": model.frontend.fs,
        "feature_dim": model.frontend.output_size(),
        "features": json.dumps(features),
        "encoder_dim": model.encoder.output_size(),
        "num_encoder_layers": model.supernet.num_layers(subnet),
        "subsampling_factor": FACTOR,
    }
    return {key: str(value) for key, value in entries.items()}


def context_metadata(context: Context) -> dict[str, str]:
    """Return what the graph of an encoder says about its context.

    ``T`` (features that a step reads) and ``decode_chunk_len`` (features to go on by) are the
    names of sherpa-onnx; the other sizes are in encoder frames.
    """
    if context.chunk_size is None:
        return {"context": "full"}
    span = context.chunk_size + context.right_context
    entries = {
        "context": "chunk",
        "chunk_size": context.chunk_size,
        "left_context": context.left_context,
        "right_context": context.right_context,
        "T": FACTOR * span,
        "decode_chunk_len": FACTOR * context.chunk_size,
    }
    return {key: str(value) for key, value in entries.items()}
