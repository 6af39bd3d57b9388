"""What a wav2vec 2.0 model of Hugging Face's ``transformers`` is called here.

Keys and options are those of its ``Wav2Vec2Model``, ``Wav2Vec2ForPreTraining`` and
``Wav2Vec2ForCTC``, in both spellings of weight norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from espnet2_supernet.errors import CheckpointError, ConfigError

_HEADS = ("quantizer.", "project_q.", "project_hid.")
_DROPPED = ("lm_head.",)
_LAYERS = {
    "conv_dim": (512,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
}
# Values of ``config.json`` that our classes compute with; no others.
_FIXED = {
    "model_type": "wav2vec2",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
    "adapter_attn_dim": None,
}
# Our option, theirs, and its default in ``Wav2Vec2Config``.
_ENCODER = (
    ("output_size", "hidden_size", 768),
    ("attention_heads", "num_attention_heads", 12),
    ("linear_units", "intermediate_size", 3072),
    ("num_blocks", "num_hidden_layers", 12),
    ("layer_norm_first", "do_stable_layer_norm", False),
    ("conv_pos", "num_conv_pos_embeddings", 128),
    ("conv_pos_groups", "num_conv_pos_embedding_groups", 16),
)
_QUANTIZER = (
    ("final_dim", "proj_codevector_dim", 256),
    ("latent_vars", "num_codevectors_per_group", 320),
    ("latent_groups", "num_codevector_groups", 2),
    ("latent_dim", "codevector_dim", 256),
)


def options_of(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """What must be configured here for the weights to mean the same.

    Args:
        config: Content of ``config.json``.
        preprocessor: Content of ``preprocessor_config.json``; empty if there is none. The
            waveform of a model with layer norms is then taken to be normalised, as it is for all
            that fairseq trained.

    Returns:
        ``frontend``, ``frontend_conf``, ``encoder``, ``encoder_conf``, and ``model_conf`` of the
        quantiser.

    Raises:
        ConfigError: If the model has something that ours cannot compute, naming the key.
    """
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise ConfigError(f"config.json: {key} must be {value}, is {config[key]}")
    norm = config.get("feat_extract_norm", "group")
    layers = [config.get(key, default) for key, default in _LAYERS.items()]
    if len({len(one) for one in layers}) != 1:
        raise ConfigError(f"config.json: {', '.join(_LAYERS)} must be of one length")
    frontend = {
        "fs": preprocessor.get("sampling_rate", 16000),
        "conv_feature_layers": [list(layer) for layer in zip(*layers, strict=True)],
        "norm": norm,
        "conv_bias": config.get("conv_bias", False),
        # a group norm removes level and offset itself
        "normalize_input": norm == "layer" and preprocessor.get("do_normalize", True),
    }
    return {
        "frontend": "waveform_conv",
        "frontend_conf": frontend,
        "encoder": "supernet_wav2vec2",
        "encoder_conf": {own: config.get(theirs, default) for own, theirs, default in _ENCODER},
        "model_conf": {own: config.get(theirs, default) for own, theirs, default in _QUANTIZER},
    }


def has_heads(states: Iterable[str]) -> bool:
    """Whether weights of these keys have what pre-training goes on with."""
    return any(key.startswith(_HEADS) for key in states)


def rename(
    states: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[dict[str, Tensor], list[str]]:
    """Give weights the keys that they have in our pre-training model.

    Args:
        states: Weights by Hugging Face's keys.
        options: Result of :func:`options_of`.

    Returns:
        Weights in float32 by our keys, and the keys that were dropped: those of a CTC head.

    Raises:
        CheckpointError: If a key is missing or has no place here, naming it.
    """
    plain = {_plain_key(key): (key, value) for key, value in states.items()}
    names = _names(options["frontend_conf"], options["encoder_conf"])
    if not has_heads(states):
        names = {key: own for key, own in names.items() if not key.startswith(_HEADS)}
    taken, dropped = {}, []
    for plain_key, (key, value) in plain.items():
        if plain_key in names:
            if plain_key == "quantizer.codevectors":  # there all codebooks are one
                value = value.view(options["model_conf"]["latent_groups"], -1, value.size(-1))
            taken[names.pop(plain_key)] = value.float()
        elif plain_key.startswith(_DROPPED):
            dropped.append(key)
        else:
            raise CheckpointError(f"'{key}' has no place in a model of this config.json")
    names.pop("masked_spec_embed", None)  # models that were never masked have none
    if names:
        raise CheckpointError(f"'{min(names)}' and {len(names) - 1} more keys are missing")
    return taken, dropped


def _plain_key(key: str) -> str:
    """Drop the name of the inner model, and use the older spelling of weight norm."""
    key = key.removeprefix("wav2vec2.")
    key = key.replace("parametrizations.weight.original0", "weight_g")
    return key.replace("parametrizations.weight.original1", "weight_v")


def _names(frontend: Mapping[str, Any], encoder: Mapping[str, Any]) -> dict[str, str]:
    """Map every key that a model has there to ours."""
    both = ("weight", "bias")
    names: dict[str, str] = {}
    for i, _ in enumerate(frontend["conv_feature_layers"]):
        theirs, convs = (
            f"feature_extractor.conv_layers.{i}",
            both if frontend["conv_bias"] else both[:1],
        )
        names |= {f"{theirs}.conv.{part}": f"frontend.convs.{i}.{part}" for part in convs}
        if i == 0 or frontend["norm"] == "layer":
            names |= {f"{theirs}.layer_norm.{part}": f"frontend.norms.{i}.{part}" for part in both}
    final = "encoder.norm" if encoder["layer_norm_first"] else "encoder.blocks.0.norm"
    modules = {
        "feature_projection.layer_norm": "encoder.subsampling.norm",
        "feature_projection.projection": "encoder.subsampling.linear",
        "encoder.layer_norm": final,
        "quantizer.weight_proj": "heads.quantizer.weight_proj",
        "project_q": "heads.project_q",
        "project_hid": "heads.final_proj",
    }
    for i in range(encoder["num_blocks"]):
        theirs, ours = f"encoder.layers.{i}", f"encoder.blocks.{i + 1}"
        for one in ("q", "k", "v", "out"):
            modules[f"{theirs}.attention.{one}_proj"] = f"{ours}.attention.linear_{one}"
        modules[f"{theirs}.layer_norm"] = f"{ours}.norm_attention"
        modules[f"{theirs}.feed_forward.intermediate_dense"] = f"{ours}.feed_forward.linear_in"
        modules[f"{theirs}.feed_forward.output_dense"] = f"{ours}.feed_forward.linear_out"
        modules[f"{theirs}.final_layer_norm"] = f"{ours}.norm_feed_forward"
    names |= {f"{a}.{part}": f"{b}.{part}" for a, b in modules.items() for part in both}
    for part in ("weight_g", "weight_v", "bias"):
        names[f"encoder.pos_conv_embed.conv.{part}"] = f"encoder.blocks.0.conv.{part}"
    names["masked_spec_embed"] = "heads.mask_emb"
    names["quantizer.codevectors"] = "heads.quantizer.codebooks"
    return names
