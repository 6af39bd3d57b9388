"""Real rows: they recognise what Speech2Text does, and say what they are."""

import sys

import numpy as np
import pytest
import torch

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.measure.clock import StageClock
from espnet2_supernet.measure.interleave import recognise
from espnet2_supernet.measure.rows import RowSpec, build
from espnet2_supernet.measure.run import load_rows
from espnet2_supernet.measure.torch_engines import TorchEngine


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def noise(seconds=1.0):
    return (0.1 * np.random.default_rng(1).standard_normal(int(16000 * seconds))).astype("float32")


@pytest.mark.parametrize(
    ("subnet", "kind", "options"),
    [("server", "torch_fp32", {}), ("device", "torch_fp32", {}),
     ("device", "torch_fp32", {"context": {"chunk_size": 2}}),
     ("device", "torch_fp32", {"search": "beam", "beam_size": 2})],
)  # fmt: skip
def test_a_row_recognises_what_speech2text_does(extracted, subnet, kind, options):
    folder = extracted / subnet
    engine, clock = build(RowSpec(kind, str(folder), options)), StageClock()
    samples = noise()
    record = recognise(engine, samples, clock)
    expected = Speech2Text(folder / "config.yaml", folder / "model.pth", **options)(samples)
    assert record.tokens == expected[0][2]
    assert record.frames == expected[0][3].frames
    assert engine.text(record.tokens) == expected[0][0]
    assert set(record.total().stage_wall) == {"features", "encoder", "decoder"}
    assert engine.info.subnet == subnet
    assert engine.info.bytes_on_disk == (folder / "model.pth").stat().st_size


def test_int8_changes_the_layers_of_the_encoder_only(extracted):
    spec = RowSpec("torch_int8", str(extracted / "device"))
    engine = build(spec)
    model = engine.speech2text.asr_model
    kinds = [
        type(m).__module__ for m in model.encoder.blocks.modules() if hasattr(m, "_packed_params")
    ]
    assert len(kinds) >= 2 * 8 and all("quantized" in kind for kind in kinds)
    assert not [m for m in model.encoder.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert isinstance(model.ctc.ctc_lo, torch.nn.Linear)
    samples = noise()
    exact = build(RowSpec("torch_fp32", spec.folder)).speech2text.encode(samples)
    error = (engine.speech2text.encode(samples) - exact).norm() / exact.norm()
    assert 0 < error < 0.1
    assert (engine.info.precision, engine.info.engine) == ("int8", "torch")
    recognise(engine, samples, StageClock())


def test_an_unknown_kind_is_an_error(extracted):
    with pytest.raises(ConfigError, match="torch_fp32"):
        build(RowSpec("torch_int4", str(extracted)))


def test_what_is_not_installed_is_not_measured(extracted, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    rows, missing = load_rows([RowSpec("openvino_int8", str(extracted / "device"))])
    assert not rows
    assert missing[0]["label"] == "device openvino_int8"
    assert "openvino is not installed: pip install openvino" in missing[0]["not_measured"]


def frames_of(engine):
    found = []
    session = engine.speech2text.stream(found.append)
    session.accept(torch.from_numpy(noise()))
    session.finish()
    return torch.cat(found)


def test_openvino_recognises_nearly_what_torch_does(extracted, tiny_corpus, tmp_path):
    for package in ("openvino", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    files = [str(tiny_corpus.root / "valid" / f"valid{i}.wav") for i in range(2)]
    folder = str(extracted / "device")
    spec = RowSpec("openvino_int8", folder, {}, str(tmp_path), files)
    engine = build(spec)
    assert (engine.info.engine, engine.info.precision) == ("openvino", "int8")
    record = recognise(engine, noise(), StageClock())
    assert set(record.total().stage_wall) == {"features", "encoder", "decoder"}
    exact = frames_of(build(RowSpec("torch_fp32", folder)))
    error = (frames_of(engine) - exact).norm() / exact.norm()
    assert 0 < error < 0.1, "int8, nothing worse"
    [graph] = tmp_path.glob("*.onnx")
    made = graph.stat().st_mtime_ns
    build(spec)
    assert graph.stat().st_mtime_ns == made, "made once"


def test_a_step_in_the_place_of_the_encoder_recognises_the_same(extracted):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import copy

    from espnet2_supernet.export.encoder_graphs import ChunkStepGraph
    from espnet2_supernet.measure.openvino_engine import StepEncoder

    plain = build(RowSpec("torch_fp32", str(extracted / "device")))
    one = plain.speech2text
    step = ChunkStepGraph(one.asr_model.supernet.extract("device"), None, one.context).eval()

    @torch.no_grad()
    def run(inputs):
        given = [torch.from_numpy(inputs[name]) for name in step.input_names]
        return [out.numpy() for out in step(*given)]

    other = copy.copy(one)
    other.asr_model = copy.deepcopy(one.asr_model)
    other.asr_model.encoder = StepEncoder(run, step)
    assert not list(other.asr_model.encoder.parameters())
    samples = noise(1.3)
    found = recognise(TorchEngine(other, plain.info), samples, StageClock())
    expected = recognise(plain, samples, StageClock())
    assert found.snapshots == expected.snapshots and found.frames == expected.frames
