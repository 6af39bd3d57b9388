"""Exits with heads of their own through the commands: trained, streamed, extracted, exported."""

import json
import shutil

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, bundle, check_streaming, export_onnx, prune_extract
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask

CHUNKS = {"chunk_size": 4, "left_context": 8, "right_context": 1}
SUBNETS = {
    "server": {"context": "full"},
    "exit": {"context": CHUNKS, "depth": 1, "head": "own"},
    "sparse": {
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5}, "depth": 1, "head": "own"
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_corpus, tmp_path_factory):
    """A finished training; afterwards the heads are made to disagree."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("heads")
    conf = tiny_corpus.config()["supernet_conf"] | {"subnets": SUBNETS}
    path = tiny_corpus.write_config(out / "train.yaml", supernet_conf=conf, max_epoch=1)
    asr_train.main(["--config", str(path), "--output_dir", str(out / "exp")])
    states = torch.load(out / "exp/1epoch.pth", weights_only=True)
    for turn, key in enumerate(("ctc.", "ctc_heads.head_exit.", "ctc_heads.head_sparse.")):
        weight = states[f"{key}ctc_lo.weight"]
        weight.copy_(8.0 * weight.roll(2 * turn, 0))
    torch.save(states, out / "exp/lively.pth")
    return out / "exp"


def options(folder, subnet, *more):
    return ["--asr_model_file", str(folder / "lively.pth"), "--subnet", subnet, *more]


def hear(folder, file, subnet, wave):
    model, _ = SupernetASRTask.build_model_from_file(model_file=folder / file)
    return Speech2Text.from_model(model, subnet)(wave)[0][2]


def test_an_exit_streams_as_it_is_masked(folder, tiny_corpus, capsys):
    scp = str(tiny_corpus.root / "valid/wav.scp")
    check_streaming.main(options(folder, "exit", "--wav_scp", scp))
    lines = capsys.readouterr().out.splitlines()
    assert lines and all("0 hypotheses differ" in line for line in lines)


@pytest.mark.parametrize("subnet", ["exit", "sparse"])
def test_it_is_extracted_with_its_head_alone(folder, tmp_path, subnet, speech):
    prune_extract.main(options(folder, subnet, "--output_dir", str(tmp_path / "out")))
    states = torch.load(tmp_path / "out/model.pth", weights_only=True)
    given = torch.load(folder / "lively.pth", weights_only=True)
    assert not [key for key in states if "heads" in key or "norm_exit" in key]
    for key, own in (("ctc.ctc_lo.bias", f"ctc_heads.head_{subnet}.ctc_lo.bias"),
                     ("encoder.norm.weight", f"encoder.norm.norm_{subnet}.weight")):  # fmt: skip
        assert torch.equal(states[key], given[own])
    row = yaml.safe_load((tmp_path / "out/config.yaml").read_text())["supernet_conf"]["subnets"]
    assert "head" not in row[subnet]
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    model, _ = SupernetASRTask.build_model_from_file(model_file=tmp_path / "out/model.pth")
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    wave = speech(1.5)
    tokens = hear(folder, "lively.pth", subnet, wave)
    assert hear(tmp_path / "out", "model.pth", subnet, wave) == tokens
    assert hear(folder, "lively.pth", "server", wave) != tokens


def test_it_is_bundled_and_exported_without_extraction(folder, tmp_path, tiny_corpus):
    scp = str(tiny_corpus.root / "valid/wav.scp")
    bundle.main(options(folder, "exit", "--output_dir", str(tmp_path / "out"), "--wav_scp", scp))
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    assert record["differing"] == 0 and record["max_abs_diff"] <= 1e-4
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    export_onnx.main(options(folder, "exit", "--output_dir", str(tmp_path / "onnx")))  # it proves


def test_a_model_with_exits_starts_from_one_without(folder, tiny_corpus, trained, tmp_path):
    """And the other way round: heads of exits that the new model does not have are left out."""
    for source, subnets in ((trained, SUBNETS), (folder, {"server": None})):
        conf = tiny_corpus.config()["supernet_conf"] | {"subnets": subnets}
        out = tmp_path / source.parent.name
        start = {"init_model_file": str(source / "valid.loss.ave.pth"), "init_blocks": "first"}
        path = tiny_corpus.write_config(out / "train.yaml", supernet_conf=conf, **start)
        command = ["--config", str(path), "--output_dir", str(out / "exp")]
        args = SupernetASRTask.get_parser().parse_args(command)
        model = SupernetASRTask.build_model(args)
        SupernetASRTask.build_optimizers(args, model)
        given = torch.load(source / "valid.loss.ave.pth", weights_only=True)
        for name in subnets:
            head = model.ctc_of(name).ctc_lo.weight
            assert torch.equal(head, given["ctc.ctc_lo.weight"])


def test_other_heads_do_not_resume(folder, tiny_corpus, tmp_path):
    shutil.copytree(folder, tmp_path / "exp")
    rows = SUBNETS | {"exit": SUBNETS["exit"] | {"head": "shared"}}
    conf = tiny_corpus.config()["supernet_conf"] | {"subnets": rows}
    path = tiny_corpus.write_config(tmp_path / "train.yaml", supernet_conf=conf, max_epoch=2)
    command = ["--config", str(path), "--output_dir", str(tmp_path / "exp"), "--resume", "true"]
    with pytest.raises(Exception, match=r"subnets\.exit\.head was own, is None"):
        asr_train.main(command)


def test_pre_training_has_no_heads(tiny_corpus, tmp_path):
    from espnet2_supernet.bin import ssl_train

    conf = {"subnets": {"server": None, "exit": SUBNETS["exit"]}}
    path = tiny_corpus.write_ssl_config(tmp_path / "ssl.yaml", supernet_conf=conf)
    with pytest.raises(ConfigError, match="exit.head: this model has no output layers"):
        ssl_train.main(["--config", str(path), "--output_dir", str(tmp_path / "exp")])
