"""The factor that a student learns with CLIP stayed in what was extracted, counted as a weight."""

import json

import torch

from espnet2_supernet.bin import encrl_train, prune_extract
from espnet2_supernet.tasks.asr import SupernetASRTask


def test_the_scale_is_no_part_of_the_recogniser(tiny_corpus, trained, tmp_path):
    conf = {"clip": {"learn_scale": True}}
    config = tiny_corpus.write_encrl_config(
        tmp_path / "train.yaml", trained, model_conf=conf, max_epoch=1
    )
    encrl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    weights = torch.load(tmp_path / "exp/1epoch.pth", weights_only=True)
    assert "log_scale" in weights, "training goes on with it"
    model = ["--asr_model_file", str(tmp_path / "exp/1epoch.pth"), "--subnet", "server"]
    prune_extract.main([*model, "--output_dir", str(tmp_path / "out")])
    states = torch.load(tmp_path / "out/model.pth", weights_only=True)
    assert "log_scale" not in states
    small, _ = SupernetASRTask.build_model_from_file(model_file=tmp_path / "out/model.pth")
    size = sum(p.numel() for p in small.parameters())
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    told = json.loads((tmp_path / "exp/subnets.json").read_text())["server"]
    assert summary["parameters"] == told["parameters"] == size
