"""The command that writes bundles."""

import json

import numpy as np
import pytest

from espnet2_supernet.bin import bundle as command
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.runtime.bundle import file_digest, read_bundle
from espnet2_supernet.tasks import bundle_writer


def arguments(trained, out, subnet="device", *more):
    model = ["--asr_model_file", str(trained / "valid.loss.ave.pth"), "--subnet", subnet]
    return [*model, "--output_dir", str(out), *more]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_trained_subnet_is_bundled(trained, tiny_corpus, tmp_path, capsys, precision):
    out, wav_scp = tmp_path / "bundle", str(tiny_corpus.root / "valid/wav.scp")
    options = ["--precision", precision, "--wav_scp", wav_scp]
    command.main(arguments(trained, out, "device", *options))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert "subnet 'device'" in capsys.readouterr().out
    source = read_bundle(out).description.source
    assert source.trained and source.contexts[1] == "chunk 2, left 4, right 0"
    assert source.sparsity == pytest.approx(0.5, abs=0.02) and source.pattern
    assert source.model_sha256 == file_digest(trained / "valid.loss.ave.pth")
    record = json.loads((out / "comparison.json").read_text())
    assert record["utterances"] == 3
    if precision == "fp32":
        assert record["differing"] == 0 and record["max_abs_diff"] <= 1e-4
    command.main(arguments(trained, out, "device", "--chunk_size", "2"))  # replaces the old one
    assert read_bundle(out).description.encoder.chunk_size == 2


def test_what_was_not_trained_needs_permission(trained, tmp_path):
    out = tmp_path / "bundle"
    with pytest.raises(ConfigError, match="was not trained for chunk 8"):
        command.main(arguments(trained, out, "device", "--chunk_size", "8"))
    command.main(arguments(trained, out, "device", "--chunk_size", "8", "--allow_untrained"))
    with pytest.raises(CheckpointError, match="was not trained"):
        read_bundle(out)
    assert read_bundle(out, allow_untrained=True).description.encoder.chunk_size == 8


def test_what_cannot_be_bundled_is_named(trained, tmp_path):
    with pytest.raises(ConfigError, match="full context and cannot stream"):
        command.main(arguments(trained, tmp_path / "x", "server"))
    with pytest.raises(ConfigError, match="no subnet 'phone'"):
        command.main(arguments(trained, tmp_path / "x", "phone"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(ConfigError, match="is no bundle; choose another folder"):
        command.main(arguments(trained, tmp_path / "mine"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_difference_is_an_error_and_the_old_bundle_stays(trained, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    command.main(arguments(trained, out))
    before = (out / "weights.npz").read_bytes()
    read = bundle_writer.read_bundle

    def damaged(*args, **options):
        bundle = read(*args, **options)
        norm = bundle.weights["encoder.norm.weight"]
        bundle.weights["encoder.norm.weight"] = norm + np.float32(0.1)
        return bundle

    monkeypatch.setattr(bundle_writer, "read_bundle", damaged)
    for target in (out, tmp_path / "other"):
        with pytest.raises(CheckpointError, match="differs from its source"):
            command.main(arguments(trained, target))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (out / "weights.npz").read_bytes() == before
