"""From a trained model to a bundle: one streaming subnet, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder

from espnet2_supernet import __version__
from espnet2_supernet.damon.rules import Salad
from espnet2_supernet.decode.session import check_frame_wise
from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.encoder.sizes import encoder_sizes
from espnet2_supernet.encoder.stack import check_no_norms
from espnet2_supernet.encoder.subsampling import Conv2dSubsampling, StackSubsampling
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.runtime.bundle import Bundle, file_digest
from espnet2_supernet.runtime.bundle.description import (
    Description,
    Features,
    Predictor,
    Source,
    Tokens,
)
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription
from espnet2_supernet.runtime.bundle.keep_rule import KeepRule
from espnet2_supernet.runtime.text import joiner
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.subnet import Subnet
from espnet2_supernet.tasks.bundle_weights import bundle_weights

KINDS = {SupernetConformerEncoder: "conformer", SupernetTransformerEncoder: "transformer"}
SUBSAMPLINGS = {Conv2dSubsampling: "conv2d", StackSubsampling: "stack"}


@dataclass(frozen=True)
class Origin:
    """Digests of what a bundle is made of.

    Attributes:
        config_sha256: Of ``config.yaml``.
        model_sha256: Of the weights.
    """

    config_sha256: str
    model_sha256: str

    @classmethod
    def of(cls, config_file: str | Path | None, model_file: str | Path) -> Origin:
        """Digest the two files of a model; the configuration is beside the weights when None."""
        config_file = config_file or Path(model_file).parent / "config.yaml"
        return cls(file_digest(Path(config_file)), file_digest(Path(model_file)))


def make_bundle(
    model: Any,
    name: str,
    context: Context | None,
    precision: str,
    token_type: str | None,
    origin: Origin,
    allow_untrained: bool = False,
) -> Bundle:
    """Turn one subnet of a model into a bundle.

    Args:
        model: Trained model.
        name: Subnet.
        context: One of its contexts; its first when None.
        precision: ``fp32`` or ``int8``. With ``int8`` the blocks of the encoder compute in int8;
            all other matrices are only stored in it, and kernels of convolutions in float16.
        token_type: How tokens make text.
        origin: Digests of the files that the model was read from.
        allow_untrained: Accept a context or a mask that was not trained to the end.

    Returns:
        The bundle, not yet written.

    Raises:
        ConfigError: If there is no such subnet, or it cannot stream, is not trained, or has parts
            that the runtime does not know.
    """
    subnet: Subnet = model.supernet.subnet(name)
    context = subnet.resolve(context, allow_untrained)
    _check_parts(model, name, context, token_type)
    trained = _is_trained(model, subnet, context, allow_untrained)
    description = Description(
        precision=precision,
        features=_features(model),
        subsampling=SUBSAMPLINGS[type(model.encoder.subsampling)],
        encoder=_sizes(model, name, context),
        ctc=model.ctc is not None,
        predictor=_predictor(model),
        tokens=Tokens(list(model.token_list), token_type, model.blank_id),
        source=_source(model, subnet, trained, origin),
        keep_rule=_keep_rule(model, name),
    )
    return Bundle(description, bundle_weights(model, name, description))


def _check_parts(model: Any, name: str, context: Context, token_type: str | None) -> None:
    """Refuse what the runtime cannot compute."""
    if context.is_full:
        raise ConfigError(
            f"subnet '{name}' has full context and cannot stream; bundle a subnet with a chunk_size"
        )
    check_frame_wise(model)
    if type(model.frontend) is not LogMelFrontend:
        raise ConfigError(f"front-end {type(model.frontend).__name__}: a bundle needs log_mel")
    if type(model.encoder) not in KINDS:
        raise ConfigError(
            f"encoder {type(model.encoder).__name__}: the runtime knows "
            f"{' and '.join(kind.__name__ for kind in KINDS)}"
        )
    if type(model.encoder.subsampling) not in SUBSAMPLINGS:
        raise ConfigError(
            f"encoder_conf.subsampling: the runtime knows {', '.join(SUBSAMPLINGS.values())}"
        )
    joiner(token_type)


def _is_trained(model: Any, subnet: Subnet, context: Context, allow_untrained: bool) -> bool:
    """Return whether a subnet was trained to the end, under this context; refuse it if not."""
    final = subnet.mask is None or model.pruner is None or bool(model.pruner.finished)
    trained = context in subnet.contexts and final
    if not trained and not allow_untrained:
        raise ConfigError(
            f"subnet '{subnet.name}': its mask has not reached its final sparsity; train to the "
            "end of the schedule, or allow untrained subnets"
        )
    return trained


def _features(model: Any) -> Features:
    frontend, normalize = model.frontend, model.normalize
    return Features(
        fs=frontend.fs,
        n_mels=frontend.n_mels,
        n_fft=frontend.n_fft,
        win_length=frontend.win_length,
        hop_length=frontend.hop_length,
        norm_means=normalize is not None and normalize.norm_means,
        norm_vars=normalize is not None and normalize.norm_vars,
    )


def _sizes(model: Any, name: str, context: Context) -> EncoderDescription:
    encoder = model.supernet.extract(name)  # without the units and layers that it does not have
    check_no_norms(encoder, "a bundle")
    kind, sizes = KINDS[type(encoder)], encoder_sizes(encoder)
    conformer, whole = kind == "conformer", sizes["attention_head_size"]
    key, value = sizes["attention_key_size"], sizes["attention_value_size"]
    return EncoderDescription(
        kind=kind,
        size=encoder.output_size(),
        heads=sizes["attention_heads"],
        linear_units=sizes["linear_units"],
        num_blocks=model.supernet.num_layers(name),
        chunk_size=context.chunk_size or 0,
        left_context=context.left_context,
        right_context=context.right_context,
        kernel=encoder.blocks[0].convolution.depthwise.kernel_size[0] if conformer else 1,
        head_size=whole,
        macaron_units=sizes.get("macaron_linear_units"),
        channels=sizes.get("convolution_channels"),
        key_size=None if key == whole else key,
        value_size=None if value == whole else value,
    )


def _predictor(model: Any) -> Predictor | None:
    if model.predictor is None:
        return None
    if isinstance(model.predictor, RNNDecoder):
        return Predictor("rnn", model.predictor.dtype, model.predictor.dlayers)
    return Predictor("stateless")


def _keep_rule(model: Any, name: str) -> KeepRule | None:
    """Describe the token-keep rule of a subnet, with the threshold that its detector was given.

    Raises:
        ConfigError: If no stream or no bundle can follow the rule, or its detector was not trained.
    """
    rule = model.rules.get(name)
    if rule is None:
        return None
    spec = rule.spec
    if spec.sees_utterance:
        raise ConfigError(
            f"supernet_conf.subnets.{name}.tokens.keep_ratio ranks the frames of a whole "
            "utterance, which no stream can; bundle a subnet whose rule has a threshold"
        )
    found = spec.to_dict()
    if isinstance(rule, Salad):
        rule.check_trained()
        found.setdefault("threshold", float(rule.detector.threshold))
    try:
        return KeepRule(**found)
    except ValueError as error:
        raise ConfigError(f"supernet_conf.subnets.{name}.tokens: {error}") from error


def _source(model: Any, subnet: Subnet, trained: bool, origin: Origin) -> Source:
    counts = model.supernet.counts(subnet.name)
    return Source(
        subnet=subnet.name,
        trained=trained,
        contexts=[one.in_frames() for one in subnet.contexts],
        pattern="" if subnet.mask is None else str(subnet.mask.pattern.to_spec()),
        sparsity=1.0 - counts["prunable_nonzero"] / counts["prunable"],
        config_sha256=origin.config_sha256,
        model_sha256=origin.model_sha256,
        package_version=__version__,
    )
