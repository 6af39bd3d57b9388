"""The rows of a report, by kind: from files to a recogniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import ConfigError, SupernetError
from espnet2_supernet.measure.engines import Engine


class NotMeasured(SupernetError):
    """A row cannot be measured here; the message says why."""


@dataclass(frozen=True)
class RowSpec:
    """Enough to make a row, in this process or in another one.

    Attributes:
        kind: One of :data:`KINDS`.
        folder: A subnet as ``prune_extract`` writes it, or a bundle.
        options: Arguments of ``Speech2Text`` about context and search; of a bundle, about search.
        cache: Folder for files that the row makes once.
        calibration: Audio files from which static quantisation takes its ranges.
        experiment: Folder that the row belongs to, as ``latency.json`` names it.
        prefix: Begins the label, where rows of several experiments stand side by side.
    """

    kind: str
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    cache: str = ""
    calibration: Sequence[str] = ()
    experiment: str = ""
    prefix: str = ""


def build(spec: RowSpec) -> Engine:
    """Load the recogniser of a row.

    Raises:
        ConfigError: If the kind is unknown.
        NotMeasured: If something that the row needs is not installed, or it does not apply.
        CheckpointError: If a file of the row is missing or damaged.
    """
    if spec.kind not in KINDS:
        raise ConfigError(f"row '{spec.kind}' is unknown; choose from {', '.join(KINDS)}")
    return KINDS[spec.kind](spec)


def label(spec: RowSpec, subnet: str) -> str:
    """Return the name of a row.

    Example:
        >>> label(RowSpec("torch_int8", "exp", {"context": {"chunk_size": 8}}), "device")
        'device torch_int8 chunk 8'
    """
    context = spec.options.get("context")
    chunk = f" chunk {context['chunk_size']}" if isinstance(context, Mapping) else ""
    return f"{spec.prefix}{subnet} {spec.kind}{chunk}"


def load_extracted(spec: RowSpec) -> Any:
    """Load the ``Speech2Text`` of a folder that ``prune_extract`` wrote."""
    from espnet2_supernet.decode.speech2text import Speech2Text

    folder = Path(spec.folder)
    return Speech2Text(folder / "config.yaml", folder / "model.pth", **spec.options)


def _torch_fp32(spec: RowSpec) -> Engine:
    from espnet2_supernet.measure.torch_engines import torch_engine

    speech2text = load_extracted(spec)
    size = (Path(spec.folder) / "model.pth").stat().st_size
    name = label(spec, speech2text.subnet)
    return torch_engine(speech2text, name, bytes_on_disk=size, files="model.pth, dense float32")


def _torch_int8(spec: RowSpec) -> Engine:
    from espnet2_supernet.measure.int8 import quantized, quantized_engine_name
    from espnet2_supernet.measure.torch_engines import torch_engine

    speech2text = quantized(load_extracted(spec))
    files = f"state dict, layers of the encoder in int8 ({quantized_engine_name()})"
    return torch_engine(speech2text, label(spec, speech2text.subnet), precision="int8", files=files)


def _openvino_int8(spec: RowSpec) -> Engine:
    from espnet2_supernet.measure.openvino_engine import openvino_engine

    return openvino_engine(spec)


def _runtime(spec: RowSpec) -> Engine:
    from espnet2_supernet.measure.runtime_engine import runtime_engine

    return runtime_engine(spec)


KINDS: dict[str, Callable[[RowSpec], Engine]] = {
    "torch_fp32": _torch_fp32,
    "torch_int8": _torch_int8,
    "openvino_int8": _openvino_int8,
    "runtime": _runtime,
}
