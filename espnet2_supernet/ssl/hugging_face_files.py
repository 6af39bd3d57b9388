"""Reads a local folder in Hugging Face's format; nothing is downloaded, nothing is executed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet2_supernet.errors import CheckpointError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError)
# Types of numbers in the safetensors format that weights come in.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        CheckpointError: If it is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a mapping is expected")
    return content


def read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Read the weights of a folder.

    Args:
        folder: Has ``model.safetensors`` or ``pytorch_model.bin``; the former is preferred.

    Returns:
        The file, and its tensors by key, on the CPU.

    Raises:
        CheckpointError: If there is no such file, or it cannot be read.
    """
    found = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    if not found:
        hint = "; files in several parts are not read" if list(folder.glob("*.index.json")) else ""
        raise CheckpointError(f"{folder}: has neither {' nor '.join(WEIGHT_FILES)}{hint}")
    path = found[0]
    try:
        states = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except _ERRORS as error:
        first = str(error).splitlines()[0][:120] if str(error) else ""
        raise CheckpointError(f"{path}: not readable ({type(error).__name__}: {first})") from error
    return path, states


def _read_pickle(path: Path) -> dict[str, Tensor]:
    states = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(states, dict) or not all(isinstance(v, Tensor) for v in states.values()):
        raise ValueError("holds something else than tensors")
    return states


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The size of a JSON header, the header, then all numbers, little-endian."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    if len(data) < 8:
        raise ValueError("shorter than its header")
    start = 8 + int(data[:8].view("<u8")[0])
    if start > len(data):
        raise ValueError("shorter than its header says")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    states = {}
    for key, entry in header.items():
        if entry["dtype"] not in _TYPES:
            raise ValueError(f"'{key}' is of type {entry['dtype']}, no floating-point number")
        first, last = (start + offset for offset in entry["data_offsets"])
        if last > len(data):
            raise ValueError("shorter than its header says")
        states[key] = torch.zeros(entry["shape"], dtype=_TYPES[entry["dtype"]])
        if last > first:
            numbers = torch.frombuffer(bytearray(data[first:last]), dtype=states[key].dtype)
            states[key] = numbers.view(entry["shape"])
    return states
