"""Folders in Hugging Face's format: what is read, and what is told of what cannot be."""

import json
import struct

import pytest
import torch

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.ssl.hugging_face_files import read_json, read_weights


def write(path, header, data=b""):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(kind, shape, first, last):
    return {"dtype": kind, "shape": shape, "data_offsets": [first, last]}


def test_types_and_shapes(tmp_path):
    torch.manual_seed(0)
    states = {"a": torch.randn(2, 3), "b": torch.randn(5).half(), "c": torch.randn(()).bfloat16(),
              "d": torch.randn(0, 4).double()}  # fmt: skip
    kinds, header, data = ("F32", "F16", "BF16", "F64"), {"__metadata__": {"format": "pt"}}, b""
    for (key, value), kind in zip(states.items(), kinds, strict=True):
        numbers = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        header[key] = entry(kind, list(value.shape), len(data), len(data) + len(numbers))
        data += numbers
    write(tmp_path / "model.safetensors", header, data)
    path, found = read_weights(tmp_path)
    assert path.name == "model.safetensors" and found.keys() == states.keys()
    for key, value in states.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value)


def test_safetensors_as_others_write_them(tmp_path):
    torch_format = pytest.importorskip("safetensors.torch")
    states = {"weight": torch.randn(3, 4), "bias": torch.randn(4)}
    torch_format.save_file(states, tmp_path / "model.safetensors")
    _, found = read_weights(tmp_path)
    assert all(torch.equal(found[key], value) for key, value in states.items())


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": entry("F32", [2], 0, 4)}, "not readable"),
        ({"a": entry("F32", [1], 0, 400)}, "not readable"),
        ({"a": entry("I64", [1], 0, 4)}, "'a' is of type I64"),
        ({"a": {"dtype": "F32"}}, "KeyError: 'data_offsets'"),
        ([], "not readable"),
    ],
)
def test_damaged_files(tmp_path, header, message):
    write(tmp_path / "model.safetensors", header, b"1234")
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path)


def test_files_that_are_none(tmp_path):
    for content, message in ((b"123", "shorter than its header"), (b"\xff" * 9, "not readable")):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_weights(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model.safetensors.index.json")
    with pytest.raises(CheckpointError, match="has neither.*files in several parts are not read"):
        read_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="pytorch_model.bin: not readable"):
        read_weights(tmp_path)
    torch.save({"a": [1, 2]}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="something else than tensors"):
        read_weights(tmp_path)
    for content, message in ((None, "cannot be read"), ("{", "not JSON"), ("[1]", "a mapping")):
        if content:
            (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=f"config.json: {message}"):
            read_json(tmp_path / "config.json")
