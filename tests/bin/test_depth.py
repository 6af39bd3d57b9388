"""Subnets of other depths through the commands: trained, streamed, decoded, extracted, bundled."""

import json

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, bundle, check_streaming, prune_extract
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.bundle import read_bundle
from espnet2_supernet.tasks.asr import SupernetASRTask

SUBNETS = {
    "server": {"context": "full"},
    "shallow": {
        "context": {"chunk_size": 4, "left_context": 4},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
        "depth": {"layers": 1, "keep": "last"},
    },
    "low": {"depth": 1},
}


@pytest.fixture(scope="module")
def folder(tiny_corpus, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("depth")
    conf = tiny_corpus.config()["supernet_conf"] | {"subnets": SUBNETS, "layer_norm": "per_subnet"}
    path = tiny_corpus.write_config(out / "train.yaml", supernet_conf=conf, max_epoch=2)
    asr_train.main(["--config", str(path), "--output_dir", str(out / "exp")])
    return out / "exp"


def options(folder, subnet, *more):
    return ["--asr_model_file", str(folder / "valid.loss.ave.pth"), "--subnet", subnet, *more]


def test_a_shallow_subnet_streams_as_it_is_masked(folder, tiny_corpus, capsys):
    scp = str(tiny_corpus.root / "valid/wav.scp")
    check_streaming.main(options(folder, "shallow", "--wav_scp", scp))
    lines = capsys.readouterr().out.splitlines()
    assert lines and all("0 hypotheses differ" in line for line in lines)


@pytest.mark.parametrize(("subnet", "block"), [("shallow", 1), ("low", 0)])
def test_it_is_extracted_as_a_smaller_model(folder, tmp_path, subnet, block):
    prune_extract.main(options(folder, subnet, "--output_dir", str(tmp_path / "out")))
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    assert summary["max_abs_diff"] <= 1e-5
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert config["encoder_conf"]["num_blocks"] == 1
    assert "depth" not in config["supernet_conf"]["subnets"][subnet]
    model, _ = SupernetASRTask.build_model_from_file(model_file=tmp_path / "out/model.pth")
    assert sum(p.numel() for p in model.parameters()) == summary["parameters"]
    whole = torch.load(folder / "valid.loss.ave.pth", weights_only=True)
    key = "attention.linear_q.bias"
    extracted = model.state_dict()[f"encoder.blocks.0.{key}"]
    assert torch.equal(extracted, whole[f"encoder.blocks.{block}.{key}"])


def test_a_dense_shallow_row_is_pruned_once(folder, tmp_path):
    more = ("--sparsity", "0.5", "--output_dir", str(tmp_path / "out"))
    prune_extract.main(options(folder, "low", *more))
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    assert summary["prunable_nonzero"] / summary["prunable"] == pytest.approx(0.5, abs=0.01)


def test_it_is_bundled(folder, tmp_path, tiny_corpus):
    more = ("--output_dir", str(tmp_path / "out"), "--allow_untrained", "--wav_scp")
    bundle.main(options(folder, "shallow", *more, str(tiny_corpus.root / "valid/wav.scp")))
    found = read_bundle(tmp_path / "out", allow_untrained=True)
    assert found.description.encoder.num_blocks == 1
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    assert record["differing"] == 0 and record["max_abs_diff"] <= 1e-4


def test_a_depth_that_does_not_fit_is_refused(tiny_corpus, tmp_path):
    for depth, message in (
        (3, "3 layers wanted, the encoder has 2"),
        (1, "no subnet runs layer 1"),
    ):
        conf = {"subnets": {"server": {"depth": depth}}}
        path = tiny_corpus.write_config(tmp_path / "train.yaml", supernet_conf=conf)
        with pytest.raises(ConfigError, match=message):
            asr_train.main(["--config", str(path), "--output_dir", str(tmp_path / "exp")])
