"""The command that writes ONNX graphs."""

import json

import pytest

from espnet2_supernet.bin import export_onnx
from espnet2_supernet.errors import ConfigError


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


def export(model, out, subnet, *options):
    path = next(model.glob("valid.*.ave.pth"))
    export_onnx.main(
        ["--asr_model_file", str(path), "--subnet", subnet, "--output_dir", str(out), *options]
    )


def test_a_subnet_is_written_in_its_context(random_model, tiny_corpus, tmp_path, capsys):
    import onnxruntime

    scp = str(tiny_corpus.root / "valid" / "wav.scp")
    export(random_model, tmp_path / "a", "device", "--wav_scp", scp)
    assert "encoder " in capsys.readouterr().out
    export(random_model, tmp_path / "b", "device", "--chunk_size", "2")
    export(random_model, tmp_path / "c", "server")
    for folder, context in (("a", "4"), ("b", "2"), ("c", None)):
        session = onnxruntime.InferenceSession(str(tmp_path / folder / "encoder.onnx"))
        metadata = session.get_modelmeta().custom_metadata_map
        assert metadata.get("chunk_size") == context
        assert json.loads(metadata["features"])["num_mels"] == 8
    assert not (tmp_path / "a" / "joiner.onnx").exists(), "a model of CTC alone"


def test_contexts_that_were_not_trained_are_refused(random_model, tmp_path):
    with pytest.raises(ConfigError, match="not trained"):
        export(random_model, tmp_path / "x", "device", "--chunk_size", "7")
    with pytest.raises(ConfigError, match="no subnet"):
        export(random_model, tmp_path / "x", "phone")
    assert not (tmp_path / "x").exists()
