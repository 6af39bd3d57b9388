"""The dense encoder in OpenVINO with int8 matrices: the strongest library to compare with.

The chunk step is exported to ONNX, its matrices are quantised with ranges from real audio (static
activations, weights per output row), and OpenVINO runs it on one thread. Features and search
stay in torch, as in the other rows. OpenVINO keeps the rest in bfloat16 where the processor has it,
which is its own default.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.export.encoder_graphs import ChunkStepGraph
from espnet2_supernet.export.onnx_file import OnnxModel, need
from espnet2_supernet.export.onnx_stream import Run, StepStream
from espnet2_supernet.export.subnet_files import write_encoder
from espnet2_supernet.measure.engines import Engine
from espnet2_supernet.measure.rows import NotMeasured, RowSpec, label, load_extracted
from espnet2_supernet.measure.torch_engines import saved_bytes, torch_engine
from espnet2_supernet.supernet.context import Context

PACKAGES = ("openvino", "onnx", "onnxruntime")


def openvino_engine(spec: RowSpec) -> Engine:
    """Load the row; the quantised graph is made once and kept in ``spec.cache``.

    Raises:
        NotMeasured: If a package is missing, or the subnet cannot be exported.
    """
    _check_packages()
    speech2text = load_extracted(spec)
    name = label(spec, speech2text.subnet)
    path = Path(spec.cache) / f"{name.replace(' ', '_').replace('/', '_')}.onnx"
    if path.is_file() and path.stat().st_mtime < (Path(spec.folder) / "model.pth").stat().st_mtime:
        path.unlink()
    waves = [soundfile.read(file, dtype="float32")[0] for file in spec.calibration]
    return in_openvino(speech2text, name, path, waves)


def in_openvino(
    speech2text: Speech2Text, name: str, path: Path, waveforms: Sequence[np.ndarray]
) -> Engine:
    """Put the encoder of a recogniser into OpenVINO.

    Args:
        speech2text: A streaming recogniser without masks; it is not changed.
        name: Unique name of the row.
        path: The quantised graph, made if it is not there.
        waveforms: Waveforms (N,) from which quantisation takes its ranges.

    Raises:
        NotMeasured: If a package is missing, or the subnet cannot be exported.
    """
    _check_packages()
    if speech2text.subnet in speech2text.asr_model.rules:
        raise NotMeasured("the subnet drops frames, which the exported chunk step does not")
    model = copy.deepcopy(speech2text.asr_model)
    try:
        step = ChunkStepGraph(model.supernet.extract(speech2text.subnet), None, speech2text.context)
    except ConfigError as error:
        raise NotMeasured(str(error)) from error
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _quantize(step, _features(model, waveforms), path)
    model.encoder = StepEncoder(_openvino_run(path), step)
    result = copy.copy(speech2text)
    result.asr_model = model
    size = path.stat().st_size + saved_bytes(model)
    files = "int8 ONNX graph of the encoder, and state dict of the rest"
    return torch_engine(result, name, "openvino", "int8", size, files)


def _check_packages() -> None:
    for package in PACKAGES:
        try:
            need(package)
        except ConfigError as error:
            raise NotMeasured(f"{package} is not installed: pip install {package}") from error


class StepState(StepStream):
    """A stream over the chunk step, where a session expects the state of an encoder.

    Attributes:
        times: Frame numbers where some are dropped: None, as none are.
    """

    times = None


class StepEncoder(nn.Module):
    """A chunk step in the place of an encoder that streams.

    Args:
        run: Runs the step.
        step: The graph that it was made of.
    """

    def __init__(self, run: Run, step: ChunkStepGraph) -> None:
        super().__init__()
        # Not the graph itself: its weights would count among those of this module.
        self._context, self._size = step.context, step.size
        self._settings = (run, step.chunk_size, step.context.right_context, step.cache_shapes(1))

    def output_size(self) -> int:
        """Model dimension D."""
        return self._size

    def init_state(self, context: Context, keeper: None = None) -> StepState:
        """Start a stream; every frame is kept."""
        assert context == self._context and keeper is None
        return StepState(*self._settings)

    def stream(
        self, feats: Tensor, state: StepState, is_final: bool = False
    ) -> tuple[Tensor, StepState]:
        """Encode features ``(1, n, F)``; see :meth:`SupernetEncoder.stream`."""
        found = state.accept(feats[0].numpy())
        if is_final:
            found += state.finish()
        frames = np.concatenate(found) if found else np.zeros((0, self._size), np.float32)
        return torch.from_numpy(frames)[None], state


@torch.no_grad()
def _features(model: Any, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
    """Return the normalised features ``(T, F)`` of waveforms.

    Raises:
        NotMeasured: If there is no waveform.
    """
    if not waveforms:
        raise NotMeasured("static int8 needs audio for its ranges")
    found = []
    for samples in waveforms:
        lengths = torch.tensor([len(samples)])
        found.append(model.extract_features(torch.from_numpy(samples)[None], lengths)[0][0])
    return found


def _quantize(step: ChunkStepGraph, feats: list[Tensor], path: Path) -> None:
    """Write the step with int8 matrices."""
    from onnxruntime import quantization

    onnx = need("onnx")
    plain = path.with_suffix(".fp32.onnx")
    write_encoder(step, plain, {})
    seen = iter(_step_inputs(step, OnnxModel(plain), feats))
    graph = onnx.load(str(plain)).graph
    constants = {one.name for one in graph.initializer}
    matrices = [
        node.name for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in constants
    ]  # fmt: skip

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict | None:
            return next(seen, None)

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice about a step that our graph does not need
    try:
        quantization.quantize_static(
            str(plain), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ,
            per_channel=True, activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8, nodes_to_quantize=matrices,
        )  # fmt: skip
    finally:
        logging.disable(before)
        plain.unlink()


def _step_inputs(
    step: ChunkStepGraph, model: OnnxModel, feats: list[Tensor]
) -> list[dict[str, np.ndarray]]:
    """Return what the step is given while it streams features ``(T, F)``."""
    seen: list[dict[str, np.ndarray]] = []

    def record(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        seen.append({name: value for name, value in inputs.items() if name in model.inputs})
        return model.run(inputs)

    for one in feats:
        stream = step.stream(record)
        stream.accept(one.numpy())
        stream.finish()
    return seen


def _openvino_run(path: Path) -> Run:
    """Compile a graph for one thread."""
    openvino = need("openvino")
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    request = compiled.create_infer_request()
    names = {name for port in compiled.inputs for name in port.names}
    outputs = list(compiled.outputs)

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        request.infer({k: v for k, v in inputs.items() if k in names}, share_inputs=True)
        return [request.get_tensor(port).data.copy() for port in outputs]

    return run
