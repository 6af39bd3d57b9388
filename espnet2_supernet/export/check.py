"""ONNX graphs against PyTorch, in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet2_supernet.decode.predictor import TransducerHead
from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.export.encoder_graphs import ChunkStepGraph
from espnet2_supernet.export.onnx_file import OnnxModel
from espnet2_supernet.supernet.context import Context

# Promise 1's, for what is not log-mel. Log-mel: two ways to a discrete Fourier transform differ by
# the rounding of the loudest bins, which is much in the logarithm of the faintest ones.
TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-2


@torch.no_grad()
def check_folder(
    model: Any, subnet: str, context: Context, folder: Path, waveforms: Sequence[Tensor]
) -> dict[str, float]:
    """Compare every graph of a folder with the model it came from.

    Args:
        model: The model, in eval mode.
        subnet: The subnet exported.
        context: Its context.
        folder: The graphs.
        waveforms: Waveforms (N,), at least one window long each.

    Returns:
        Largest absolute difference by graph.

    Raises:
        CheckpointError: If one exceeds its tolerance or is not a number.
    """
    feats = [model.frontend.frames(wave[None])[0] for wave in waveforms]
    found = {"features": _features(folder, waveforms, feats)}
    with model.supernet.active_subnet(subnet):
        encoded = [_encode(model, one, context) for one in feats]
        if context.is_full:
            found["encoder"] = _full(folder, feats, encoded)
        else:
            found["encoder"] = _stream(model, subnet, context, folder, feats, encoded)
    frames = torch.cat(encoded)[:64]
    if model.ctc is not None:
        [log_probs] = OnnxModel(folder / "ctc.onnx").run({"encoder_out": frames[None].numpy()})
        found["ctc"] = _difference(log_probs, model.ctc_of(subnet).log_softmax(frames[None]))
    if model.joint_network is not None:
        found |= _transducer(model, folder, frames)
    for name, difference in found.items():
        allowed = FEATURE_TOLERANCE if name == "features" else TOLERANCE
        if not difference <= allowed:
            raise CheckpointError(
                f"{name}.onnx of subnet '{subnet}' differs from PyTorch by {difference:.2g} "
                f"(allowed {allowed:g}); nothing was written"
            )
    return found


def _difference(found: Any, expected: Tensor) -> float:
    found = torch.as_tensor(np.asarray(found))
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max()) if expected.numel() else 0.0


def _features(folder: Path, waves: Sequence[Tensor], feats: Sequence[Tensor]) -> float:
    graph = OnnxModel(folder / "features.onnx")
    pairs = zip(waves, feats, strict=True)
    return max(_difference(graph.run({"samples": w[None].numpy()})[0], f[None]) for w, f in pairs)


def _encode(model: Any, feats: Tensor, context: Context) -> Tensor:
    """Encode features ``(T, F)`` in PyTorch: full context, or the stateful pass."""
    batch, lengths = feats[None].clone(), torch.tensor([len(feats)])
    if model.normalize is not None:
        batch, _ = model.normalize(batch, lengths)
    if context.is_full:
        return model.encoder(batch, lengths, context=context)[0][0]
    state = model.encoder.init_state(context)
    return model.encoder.stream(batch, state, is_final=True)[0][0]


def _full(folder: Path, feats: Sequence[Tensor], encoded: Sequence[Tensor]) -> float:
    """Compare a padded batch of whole utterances."""
    graph = OnnxModel(folder / "encoder.onnx")
    padded = torch.nn.utils.rnn.pad_sequence(list(feats), batch_first=True, padding_value=3.0)
    lengths = np.array([len(one) for one in feats], np.int64)
    out, counts = graph.run({"feats": padded.numpy(), "feats_lengths": lengths})
    if counts.tolist() != [len(one) for one in encoded]:
        return float("inf")
    pairs = zip(out, encoded, strict=True)
    return max(_difference(one[: len(expected)], expected) for one, expected in pairs)


def _stream(
    model: Any,
    subnet: str,
    context: Context,
    folder: Path,
    feats: Sequence[Tensor],
    encoded: Sequence[Tensor],
) -> float:
    """Compare streams, fed in two pieces each."""
    graph = OnnxModel(folder / "encoder.onnx")
    step = ChunkStepGraph(model.supernet.extract(subnet), None, context)
    largest = 0.0
    for one, expected in zip(feats, encoded, strict=True):
        stream, middle = step.stream(graph.run), len(one) // 2
        pieces = [p for part in (one[:middle], one[middle:]) for p in stream.accept(part.numpy())]
        pieces += stream.finish()
        found = np.concatenate(pieces) if pieces else np.zeros((0, expected.size(1)), np.float32)
        largest = max(largest, _difference(found, expected))
    return largest


def _transducer(model: Any, folder: Path, frames: Tensor) -> dict[str, float]:
    """Compare predictor and joiner over some tokens."""
    head = TransducerHead(model.predictor, model.joint_network, model.blank_id)
    predictor, joiner = OnnxModel(folder / "predictor.onnx"), OnnxModel(folder / "joiner.onnx")
    shape = None if not predictor.inputs[1:] else model.predictor.init_state(1)[0].shape
    states = {name: np.zeros(shape, np.float32) for name in predictor.inputs[1:]}  # type: ignore[arg-type]
    model.predictor.set_device(frames.device)
    state, largest = model.predictor.init_state(1), {"predictor": 0.0, "joiner": 0.0}
    for step, token in enumerate([model.blank_id, *range(1, min(8, head.vocab_size))]):
        out, *new = predictor.run({"token": np.array([token], np.int64), **states})
        states = dict(zip(states, new, strict=True))
        expected, state = model.predictor.score([token], state)
        model.predictor.score_cache.clear()
        largest["predictor"] = max(largest["predictor"], _difference(out, expected.reshape(1, -1)))
        frame = frames[step % len(frames)][None]
        [logits] = joiner.run({"encoder_out": frame.numpy(), "predictor_out": out})
        wanted = model.joint_network(frame, expected.reshape(1, -1))
        largest["joiner"] = max(largest["joiner"], _difference(logits, wanted))
    return largest
