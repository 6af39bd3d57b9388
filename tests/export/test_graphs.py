"""Every graph against PyTorch, and what is refused."""

import argparse
import json

import numpy as np
import pytest
import torch

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.export import check
from espnet2_supernet.export.encoder_graphs import ChunkStepGraph
from espnet2_supernet.export.onnx_stream import StepStream
from espnet2_supernet.supernet.context import Context

ARGS = argparse.Namespace(token_type="char", frontend_conf={"n_mels": 12})
FULL, DEVICE, AHEAD = Context(), Context(4, 8), Context(4, 4, 2)


@pytest.fixture
def write(tmp_path, speech):
    """Return a function that exports a model."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from espnet2_supernet.export.subnet_files import export

    waves = [torch.from_numpy(speech(seconds, seed=1)) for seconds in (1.03, 0.31)]

    def run(model, subnet, context, folder="onnx"):
        return export(model, ARGS, subnet, context, tmp_path / folder, waves)

    return run


@pytest.mark.parametrize("encoder", ["conformer", "transformer"])
@pytest.mark.parametrize("subsampling", ["conv2d", "stack"])
@pytest.mark.parametrize(
    ("subnet", "context"),
    [("server", FULL), ("device", DEVICE), ("ahead", AHEAD), ("device", Context(3, 0, 5))],
)
def test_graphs_equal_pytorch(tiny_model, write, tmp_path, encoder, subsampling, subnet, context):
    differences = write(tiny_model(encoder, subsampling=subsampling), subnet, context)
    assert set(differences) == {"features", "encoder", "ctc", "predictor", "joiner"}
    assert differences["encoder"] < 2e-5 and differences["features"] < 1e-3
    names = sorted(path.name for path in (tmp_path / "onnx").iterdir())
    assert names == ["ctc.onnx", "encoder.onnx", "features.onnx", "joiner.onnx", "predictor.onnx",
                     "tokens.txt"]  # fmt: skip


@pytest.mark.parametrize("predictor", ["stateless", "rnn"])
def test_predictors(tiny_model, write, predictor):
    assert write(tiny_model(predictor=predictor), "server", FULL)["predictor"] < 1e-5


def test_metadata_says_what_a_runtime_needs(tiny_model, write, tmp_path):
    from espnet2_supernet.export.onnx_file import OnnxModel

    model = tiny_model()
    write(model, "ahead", AHEAD)
    graph = OnnxModel(tmp_path / "onnx" / "encoder.onnx")
    found = graph.metadata
    assert found["model_type"] == "espnet2_supernet_conformer"
    assert json.loads(found["tokens"]) == model.token_list
    assert (found["blank_id"], found["vocab_size"]) == ("0", str(len(model.token_list)))
    assert (found["T"], found["decode_chunk_len"]) == ("24", "16")
    assert (found["chunk_size"], found["left_context"], found["right_context"]) == ("4", "4", "2")
    features = json.loads(found["features"])
    assert (features["sample_rate"], features["num_mels"], features["fmax"]) == (16000, 12, 8000.0)
    assert graph.inputs[:3] == ["feats", "num_frames", "processed_frames"]
    tokens = (tmp_path / "onnx" / "tokens.txt").read_text().splitlines()
    assert tokens[0] == "<blank> 0" and len(tokens) == len(model.token_list)


def test_a_difference_is_an_error_and_nothing_is_written(tiny_model, write, tmp_path, monkeypatch):
    model = tiny_model()
    write(model, "device", DEVICE)
    before = {path: path.read_bytes() for path in (tmp_path / "onnx").iterdir()}
    monkeypatch.setattr(check, "_encode", lambda *args: torch.zeros(25, 16))
    with pytest.raises(CheckpointError, match=r"encoder\.onnx of subnet 'device' differs"):
        write(model, "device", DEVICE)
    assert {path: path.read_bytes() for path in (tmp_path / "onnx").iterdir()} == before
    assert not list(tmp_path.glob(".onnx*"))


def test_missing_onnxruntime_is_named(monkeypatch, tiny_model, tmp_path):
    import sys

    from espnet2_supernet.export.subnet_files import export

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="onnxruntime is not installed: pip install onnx"):
        export(tiny_model(), ARGS, "device", DEVICE, tmp_path / "onnx", [])


def test_foreign_blocks_and_full_context_steps_are_refused(tiny_model):
    from torch import nn

    encoder = tiny_model().supernet.extract("server")
    with pytest.raises(ConfigError, match="no chunks"):
        ChunkStepGraph(encoder, None, FULL)
    encoder.blocks[0] = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="Linear cannot be exported"):
        ChunkStepGraph(encoder, None, DEVICE)


def test_a_subnet_that_drops_frames_is_refused(tiny_model):
    from espnet2_supernet.export.subnet_files import _encoder_graph

    with pytest.raises(ConfigError, match="'device' drops frames, which no ONNX graph"):
        _encoder_graph(tiny_model(tokens="downsample"), "device", Context(4, 8))


@pytest.mark.parametrize("frames", [0, 3, 16, 23, 24, 40, 41])
def test_steps_cover_every_frame_once(frames):
    """Without any runtime: a step that returns the features it was given."""
    seen = []

    def run(inputs):
        seen.append(int(inputs["num_frames"][0]))
        return [inputs["feats"][:, :16:4, :1], inputs["count"] + 1]

    stream = StepStream(run, 4, 2, [("count", (1,))])
    feats = np.arange(frames, dtype=np.float32)[:, None]
    pieces = [p for part in np.array_split(feats, 3) for p in stream.accept(part)]
    pieces += stream.finish()
    found = np.concatenate(pieces)[:, 0].tolist() if pieces else []
    assert found == list(range(0, frames // 4 * 4, 4))
    assert all(1 <= count <= 6 for count in seen)
