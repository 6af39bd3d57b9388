"""The cost of a training, with those before it."""

import json
import shutil

import pytest
import torch

from espnet2_supernet.bin import asr_train, training_cost
from espnet2_supernet.errors import CheckpointError, DataError
from espnet2_supernet.report.training import cost_text
from espnet2_supernet.tasks import training_cost as module

LARGE = 4 * 4 * (2 + 2)  # epochs x batches x (two subnets of two blocks)
EPOCH = LARGE // 4


def train(tiny_corpus, folder, **changes):
    """Train for one epoch."""
    config = tiny_corpus.write_config(folder / "train.yaml", max_epoch=1, **changes)
    asr_train.main(["--config", str(config), "--output_dir", str(folder / "exp")])
    return folder / "exp"


def test_a_student_costs_what_its_teacher_did_and_a_third_of_its_blocks(student, trained, capsys):
    training_cost.main(["--expdir", str(trained), str(student)])
    large, small = (json.loads((f / "training_cost.json").read_text()) for f in (trained, student))
    assert large == {"own": LARGE, "chain": LARGE, "batches": 16, "uncounted": []}
    assert small["own"] == pytest.approx(small["batches"] * (1 + 1 + 2 / 3))
    assert small["chain"] == pytest.approx(LARGE + small["own"])
    assert cost_text(trained) == "0.1 / 0.1"
    assert f"exp: {LARGE} block-updates" in capsys.readouterr().out


def test_each_training_counts_once(tiny_corpus, student, trained, tmp_path):
    given = tiny_corpus.config()
    encoder = given["encoder_conf"] | {"num_blocks": 1}
    start = str(student / "valid.loss.ave.pth")
    out = train(tiny_corpus, tmp_path, encoder_conf=encoder, init_model_file=start)
    cost = module.training_cost(out)
    assert cost.own == 4 * 2
    assert cost.chain == pytest.approx(8 + module.training_cost(student).chain)


def test_pre_training_counts_too(tiny_corpus, pretrained, tmp_path):
    out = train(tiny_corpus, tmp_path, ssl_model_file=str(pretrained / "valid.loss.ave.pth"))
    assert module.training_cost(pretrained).chain == LARGE
    assert module.training_cost(out) == module.TrainingCost(EPOCH, EPOCH + LARGE, 4)


def test_what_was_extracted_counts_as_its_training(tiny_corpus, trained, tmp_path):
    source = tmp_path / "source"
    (source / "extracted_server").mkdir(parents=True)
    for name in ("config.yaml", "latest.pth"):
        shutil.copy(trained / name, source)
    model = source / "extracted_server/model.pth"
    shutil.copy(trained / "valid.loss.ave.pth", model)
    out = train(tiny_corpus, tmp_path, init_param=[f"{model}:encoder:encoder"])
    assert module.training_cost(out) == module.TrainingCost(EPOCH, EPOCH + LARGE, 4)
    (source / "latest.pth").unlink()
    assert module.training_cost(out) == module.TrainingCost(EPOCH, EPOCH, 4, (str(model),))


def test_depth_sampling_and_layerdrop_count():
    rows = {"server": {}, "half": {"depth": 3}, "third": {"depth": 2}, "low": {"depth": 1}}
    sampling = {"always": ["server"], "extra": 1, "by_layerdrop": ["low"]}
    options = {
        "encoder_conf": {"num_blocks": 6, "layerdrop": 0.5},
        "supernet_conf": {"subnets": rows, "sampling": sampling},
    }
    assert module.layers_in_step(options) == pytest.approx(0.5 * (6 + 3 / 2 + 2 / 2))


def test_what_is_missing_is_named(trained, tmp_path):
    (tmp_path / "config.yaml").write_text((trained / "config.yaml").read_text())
    with pytest.raises(CheckpointError, match="latest.pth: no such model file"):
        module.training_cost(tmp_path)
    torch.save({"x": torch.ones(1)}, tmp_path / "latest.pth")
    with pytest.raises(CheckpointError, match="not a training of a supernet"):
        module.training_cost(tmp_path)
    assert cost_text(tmp_path) == "-"
    (tmp_path / "training_cost.json").write_text('{"own": "much"}')
    with pytest.raises(DataError, match="must be numbers"):
        cost_text(tmp_path)
