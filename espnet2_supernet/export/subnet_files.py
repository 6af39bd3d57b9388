"""All graphs of one subnet as a folder, checked before it is declared written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.atomic import atomic_files
from espnet2_supernet.encoder.subsampling import FACTOR
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.export.check import check_folder
from espnet2_supernet.export.encoder_graphs import ChunkStepGraph, FullContextGraph
from espnet2_supernet.export.head_graphs import CTCGraph, JoinerGraph, LogMelGraph, PredictorGraph
from espnet2_supernet.export.metadata import common_metadata, context_metadata
from espnet2_supernet.export.onnx_file import need, write_graph
from espnet2_supernet.supernet.context import Context


def export(
    model: Any,
    args: Any,
    subnet: str,
    context: Context,
    output_dir: Path,
    waveforms: Sequence[Tensor],
) -> dict[str, float]:
    """Write a subnet as ONNX graphs, and prove that they compute what PyTorch does.

    Writes ``features.onnx``, ``encoder.onnx`` (whole utterances under full context, else one step
    of a stream), ``ctc.onnx``, ``predictor.onnx`` and ``joiner.onnx`` as far as the model has
    them, and ``tokens.txt`` (``token id`` lines). Files of these names are replaced only after the
    proof.

    Args:
        model: Trained model.
        args: Options of its training.
        subnet: Name of the subnet.
        context: Context to export it in.
        output_dir: Folder.
        waveforms: Waveforms (N,) that both recognise.

    Returns:
        Largest absolute difference to PyTorch, by graph.

    Raises:
        ConfigError: If a part of the model has no ONNX form, or a package is not installed.
        CheckpointError: If a graph computes something else, or cannot be written.
    """
    need("onnxruntime")
    try:
        with atomic_files(output_dir) as temporary:
            metadata = common_metadata(model.eval(), args, subnet)
            graph = _encoder_graph(model, subnet, context)
            write_encoder(graph, temporary / "encoder.onnx", metadata | context_metadata(context))
            _write_heads(model, subnet, temporary, metadata)
            lines = [f"{token} {index}\n" for index, token in enumerate(model.token_list)]
            (temporary / "tokens.txt").write_text("".join(lines), encoding="utf-8")
            return check_folder(model, subnet, context, temporary, waveforms)
    except OSError as error:
        raise CheckpointError(f"{output_dir}: cannot write ({error.strerror})") from error


def _encoder_graph(model: Any, subnet: str, context: Context) -> Any:
    if subnet in model.rules:
        raise ConfigError(f"subnet '{subnet}' drops frames, which no ONNX graph of ours does yet")
    encoder = model.supernet.extract(subnet).eval()
    if context.is_full:
        return FullContextGraph(encoder, model.normalize)
    return ChunkStepGraph(encoder, model.normalize, context)


def write_encoder(graph: Any, path: Path, metadata: dict[str, str]) -> None:
    """Write the graph of an encoder; the batch may have any size.

    Args:
        graph: ``FullContextGraph`` or ``ChunkStepGraph``.
        path: File to write.
        metadata: Strings for ``metadata_props``.
    """
    axes: dict[str, dict[int, str]] = {"feats": {0: "N"}, "encoder_out": {0: "N"}}
    if isinstance(graph, FullContextGraph):
        example = [torch.zeros(2, 64, graph.num_features), torch.tensor([64, 40])]
        axes = {"feats": {0: "N", 1: "T"}, "encoder_out": {0: "N", 1: "T_sub"}}
        axes |= {name: {0: "N"} for name in ("feats_lengths", "encoder_out_lengths")}
    else:
        example = [torch.zeros(2, FACTOR * graph.span, graph.num_features)]
        example.append(torch.full((2,), graph.span))
        axes["num_frames"] = {0: "N"}
        for name, shape in graph.cache_shapes(2):
            is_count = name == "processed_frames"
            example.append(torch.zeros(shape, dtype=torch.int64 if is_count else torch.float32))
            in_blocks = name in ("cached_key", "cached_value", "cached_conv")
            axes[name] = axes[f"new_{name}"] = {int(in_blocks): "N"}
    write_graph(graph, example, axes, path, metadata)


def _write_heads(model: Any, subnet: str, folder: Path, metadata: dict[str, str]) -> None:
    """Write features, CTC, predictor and joiner, as far as the model has them."""
    size = model.encoder.output_size()
    batch_time = {0: "N", 1: "T"}
    features = LogMelGraph(model.frontend)
    samples = torch.zeros(2, model.frontend.win_length + 4 * model.frontend.hop_length)
    axes: dict[str, dict[int, str]] = {"samples": batch_time, "feats": {0: "N", 1: "T_feats"}}
    write_graph(features, [samples], axes, folder / "features.onnx", metadata)
    if model.ctc is not None:
        axes = {"encoder_out": batch_time, "log_probs": batch_time}
        example = [torch.zeros(2, 3, size)]
        write_graph(CTCGraph(model.ctc_of(subnet)), example, axes, folder / "ctc.onnx", metadata)
    if model.predictor is None or model.joint_network is None:
        return
    predictor = PredictorGraph(model.predictor)
    states = [torch.zeros(predictor.state_shape(2)) for _ in predictor.state_names]
    axes = {"token": {0: "N"}, "predictor_out": {0: "N"}}
    axes |= {f"{new}{name}": {1: "N"} for name in predictor.state_names for new in ("", "new_")}
    example = [torch.zeros(2, dtype=torch.int64), *states]
    write_graph(predictor, example, axes, folder / "predictor.onnx", metadata)
    example = [torch.zeros(2, size), torch.zeros(2, model.predictor.output_size)]
    axes = {name: {0: "N"} for name in ("encoder_out", "predictor_out", "logits")}
    write_graph(JoinerGraph(model.joint_network), example, axes, folder / "joiner.onnx", metadata)
