"""From a trained model to a bundle: one streaming subnet, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.asr_transducer.decoder.rnn_decoder import RNNDecoder

from espnet2_supernet import __version__
from espnet2_supernet.decode.session import check_frame_wise
from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.encoder.sizes import check_whole_heads, encoder_sizes
from espnet2_supernet.encoder.subsampling import Conv2dSubsampling, StackSubsampling
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.runtime.bundle import Bundle, Weights, file_digest
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.description import (
    Description,
    Features,
    Predictor,
    Source,
    Tokens,
)
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription, matrix_shapes
from espnet2_supernet.runtime.text import joiner
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.subnet import Subnet
from espnet2_supernet.tasks.extraction import subnet_states

KINDS = {SupernetConformerEncoder: "conformer", SupernetTransformerEncoder: "transformer"}
SUBSAMPLINGS = {Conv2dSubsampling: "conv2d", StackSubsampling: "stack"}
BLOCKS = ((16, 4), (16, 1), (8, 4), (8, 1), (4, 4), (4, 1), (1, 4), (1, 1))
HEADS = ("ctc.ctc_lo.", "predictor.", "joint_network.")
INDEX_BYTES = 2  # of the place of a block


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
    )
    return Bundle(description, _weights(model, name, description))


def _check_parts(model: Any, name: str, context: Context, token_type: str | None) -> None:
    """Refuse what the runtime cannot compute."""
    if context.is_full:
        raise ConfigError(
            f"subnet '{name}' has full context and cannot stream; bundle a subnet with a chunk_size"
        )
    if name in model.rules:
        raise ConfigError(
            f"subnet '{name}' drops frames, which the runtime cannot do yet; stream it with "
            "asr_inference --mode streamed"
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
    kind, sizes = KINDS[type(encoder)], encoder_sizes(encoder)
    check_whole_heads(encoder, "bundle")
    conformer = kind == "conformer"
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
        head_size=sizes["attention_head_size"],
        macaron_units=sizes.get("macaron_linear_units"),
        channels=sizes.get("convolution_channels"),
    )


def _predictor(model: Any) -> Predictor | None:
    if model.predictor is None:
        return None
    if isinstance(model.predictor, RNNDecoder):
        return Predictor("rnn", model.predictor.dtype, model.predictor.dlayers)
    return Predictor("stateless")


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


def _weights(model: Any, name: str, description: Description) -> Weights:
    """Collect what the runtime needs, in the precision of the bundle."""
    states = {key: _array(value) for key, value in subnet_states(model, name).items()}
    sparse = {f"encoder.{key}" for key in matrix_shapes(description.encoder)}
    int8 = description.precision == "int8"
    weights: Weights = {}
    for key, value in states.items():
        if not key.startswith(("encoder.", *HEADS)):
            continue
        if key in sparse or (int8 and value.ndim == 2):
            matrix = BlockMatrix.from_dense(value, best_block(value, 1 if int8 else 4))
            weights[key] = matrix.quantize() if int8 else matrix
        else:
            weights[key] = value.astype(np.float16) if int8 and value.ndim > 2 else value
    # The numbers the model computes with: made anew, narrow bands differ by rounding.
    filters = _array(model.frontend.filters).T
    weights["features.filters"] = BlockMatrix.from_dense(np.ascontiguousarray(filters), (1, 1))
    weights["features.window"] = _array(model.frontend.window)
    if model.normalize is not None:
        weights["normalize.mean"] = _array(model.normalize.mean)
        weights["normalize.std"] = _array(model.normalize.std)
    return weights


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy()


def best_block(weight: np.ndarray, itemsize: int) -> tuple[int, int]:
    """Choose the blocks in which a matrix takes the fewest bytes; the larger ones if equal.

    Args:
        weight: Matrix (rows, columns) with zeros.
        itemsize: Bytes of a stored weight.
    """

    def size(block: tuple[int, int]) -> int:
        return _kept_blocks(weight, block) * (block[0] * block[1] * itemsize + INDEX_BYTES)

    return min(BLOCKS, key=size)


def _kept_blocks(weight: np.ndarray, block: tuple[int, int]) -> int:
    kept = (weight != 0).astype(np.uint8)
    for axis, width in enumerate(block):
        kept = np.maximum.reduceat(kept, np.arange(0, kept.shape[axis], width), axis=axis)
    return int(kept.sum())
