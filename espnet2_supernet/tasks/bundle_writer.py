"""Writes a bundle, reads it back and compares it with its source before it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.runtime.bundle import SUMS, Bundle, read_bundle, write_bundle
from espnet2_supernet.runtime.recognizer import Recognizer
from espnet2_supernet.supernet.context import Context

TOLERANCE = 1e-4  # of encoder outputs in fp32
INT8_TOLERANCE = 0.15  # relative RMS error of encoder outputs: more is no rounding
PIECE_SECONDS = 0.1
RECORD = "comparison.json"


@dataclass
class Comparison:
    """How a bundle agrees with the subnet it was made of.

    Attributes:
        utterances: Utterances compared.
        hypotheses: Hypotheses compared: one for each utterance and output layer.
        differing: Those whose tokens or emission frames differ.
        max_abs_diff: Largest difference of an encoder output.
        relative_rms: Root mean square of the differences over that of the outputs.
    """

    utterances: int = 0
    hypotheses: int = 0
    differing: int = 0
    max_abs_diff: float = 0.0
    relative_rms: float = 0.0


def write(
    bundle: Bundle, model: Any, output_dir: Path, waveforms: Sequence[torch.Tensor]
) -> dict[str, Any]:
    """Write a bundle, and prove that it recognises the same as its source.

    Args:
        bundle: What to write.
        model: The model that it was made of.
        output_dir: Folder; replaced as a whole, after the proof, if it is a bundle already.
        waveforms: Waveforms (N,) that both recognise.

    Returns:
        ``bytes``, ``bytes_dense_encoder``, ``bytes_over_dense_encoder`` and the comparison.

    Raises:
        ConfigError: If the folder holds something else.
        CheckpointError: If the bundle computes something else than its source, or cannot be
            written. Nothing is left behind.
    """
    _check_target(output_dir)
    temporary = output_dir.with_name(f".{output_dir.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        write_bundle(temporary, bundle)
        reloaded = read_bundle(temporary, allow_untrained=True)
        comparison = compare(reloaded, model, waveforms)
        check(comparison, bundle.description.precision)
        sizes = write_bundle(temporary, bundle, {RECORD: asdict(comparison)})
        read_bundle(temporary, allow_untrained=True)
        _publish(temporary, output_dir)
    except OSError as error:
        raise CheckpointError(f"{output_dir}: cannot write ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    dense = 4 * sum(parameter.numel() for parameter in _encoder_parameters(model, bundle))
    total = sum(sizes.values())
    return {
        "bytes": total,
        "bytes_dense_encoder": dense,
        "bytes_over_dense_encoder": total / dense,
        **asdict(comparison),
    }


def compare(bundle: Bundle, model: Any, waveforms: Sequence[torch.Tensor]) -> Comparison:
    """Stream waveforms through a bundle and through its source.

    Args:
        bundle: The bundle, as read.
        model: The model that it was made of.
        waveforms: Waveforms (N,).

    Returns:
        The differences.
    """
    description, sizes = bundle.description, bundle.description.encoder
    context = Context(sizes.chunk_size, sizes.left_context, sizes.right_context)
    outputs = ["ctc"] * description.ctc + ["rnnt"] * (description.predictor is not None)
    result, squares = Comparison(utterances=len(waveforms)), np.zeros(2)
    for output in outputs:
        recognizer = Recognizer(bundle, use=output)
        source = Speech2Text.from_model(
            model, description.source.subnet, context, allow_untrained=True, use=output
        )
        for wave in waveforms:
            expected, tokens = _recognise(source, wave)
            found, found_tokens = _recognise(recognizer, wave.numpy())
            result.hypotheses += 1
            result.differing += found_tokens != tokens
            difference = found - expected if found.shape == expected.shape else expected + np.nan
            largest = float(np.abs(difference).max()) if difference.size else 0.0
            if not largest <= result.max_abs_diff:  # a NaN must stay visible
                result.max_abs_diff = largest
            squares += [np.square(difference).sum(), np.square(expected).sum()]
    result.relative_rms = float(np.sqrt(squares[0] / squares[1])) if squares[1] else 0.0
    return result


def check(comparison: Comparison, precision: str) -> None:
    """Refuse a bundle that differs from its source.

    In fp32 no hypothesis may differ; in int8 the encoder outputs may be rounded, no more.

    Raises:
        CheckpointError: Saying by how much.
    """
    kind, error, limit = "largest difference", comparison.max_abs_diff, TOLERANCE
    if precision == "int8":
        kind, error, limit = "relative RMS error", comparison.relative_rms, INT8_TOLERANCE
    if not error <= limit or (precision == "fp32" and comparison.differing):
        raise CheckpointError(
            f"the bundle differs from its source: {kind} of encoder outputs {error:.2g} (allowed "
            f"{limit:g}), {comparison.differing} hypotheses differ; nothing was written"
        )


def _recognise(recognizer: Any, wave: Any) -> tuple[np.ndarray, tuple]:
    """Stream a waveform: encoder outputs (n, D), and tokens with their frames."""
    pieces: list[Any] = []
    session, size = recognizer.stream(pieces.append), int(PIECE_SECONDS * recognizer.fs)
    for start in range(0, len(wave), size):
        session.accept(wave[start : start + size])
    session.finish()
    [best] = session.nbest()
    frames = [np.asarray(piece) for piece in pieces]
    encoded = np.concatenate(frames) if frames else np.zeros((0, 1), np.float32)
    return encoded, (best.tokens, best.frames)


def _encoder_parameters(model: Any, bundle: Bundle) -> list[torch.Tensor]:
    """Parameters of the subnet's dense encoder, its own norms only."""
    return list(model.supernet.extract(bundle.description.source.subnet).parameters())


def _check_target(folder: Path) -> None:
    """Refuse to replace a folder that is no bundle."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / SUMS).is_file():
        raise ConfigError(f"{folder}: is there already and is no bundle; choose another folder")


def _publish(temporary: Path, folder: Path) -> None:
    """Put the temporary folder in the place of the old one, which stays if that fails."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
