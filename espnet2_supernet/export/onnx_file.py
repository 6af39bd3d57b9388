"""Writing a graph as an ONNX file, and running one."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espnet2_supernet.errors import ConfigError

OPSET = 17  # 2022; what onnxruntime and sherpa-onnx of the last years read


def need(package: str) -> Any:
    """Import an optional package.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(f"{package} is not installed: pip install onnx onnxruntime") from (error)


@torch.no_grad()
def write_graph(
    graph: Any,
    example: Sequence[Tensor],
    batch_axes: Mapping[str, Mapping[int, str]],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Trace a graph and write it.

    Args:
        graph: Module with ``input_names`` and ``output_names``, in eval mode.
        example: One input for each name.
        batch_axes: Names of the axes whose length may vary, by input or output.
        path: File to write.
        metadata: Strings for ``metadata_props``.

    Raises:
        ConfigError: If the package ``onnx`` is not installed.
    """
    onnx = need("onnx")
    module: nn.Module = graph.eval()
    with warnings.catch_warnings():
        # torch's newer exporter needs one package more, and gains nothing for these graphs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(example), str(path), dynamo=False, opset_version=OPSET,
            input_names=list(graph.input_names), output_names=list(graph.output_names),
            dynamic_axes={name: dict(axes) for name, axes in batch_axes.items()},
        )  # fmt: skip
    model = onnx.load(str(path))
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


class OnnxModel:
    """A graph in onnxruntime, on one thread.

    Args:
        path: The file.

    Raises:
        ConfigError: If onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs: list[str] = [one.name for one in self._session.get_inputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the graph.

        Args:
            inputs: Arrays by name; those that the graph does not read are left out.

        Returns:
            Its outputs, in order.
        """
        given = {name: inputs[name] for name in self.inputs}
        return list(self._session.run(None, given))
