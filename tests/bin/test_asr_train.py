import json

import numpy as np
import pytest
import torch

from espnet2_supernet.bin import asr_train, run_main
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError


def test_a_training_leaves_what_the_recipe_needs(trained):
    names = {p.name for p in trained.iterdir()}
    assert {"config.yaml", "checkpoint.pth", "subnets.json", "progress.log", "latest.pth"} <= names
    assert {"valid.loss.best.pth", "valid.loss.ave_2best.pth", "valid.loss.ave.pth"} <= names
    assert not [name for name in names if name.endswith(".tmp")]
    assert (trained / "images/layer_sparsity_device.png").stat().st_size > 0
    lines = (trained / "progress.log").read_text().splitlines()
    assert len(lines) == 4 and lines[-1].startswith("epoch 4/4 | loss train ")
    assert "device: loss " in lines[-1] and "sparsity device 50." in lines[-1]
    table = json.loads((trained / "subnets.json").read_text())
    server, device = table["server"], table["device"]
    assert device["parameters"] == server["parameters"] > server["prunable"]
    assert device["nonzero"] < server["nonzero"] == server["parameters"]
    assert device["prunable_nonzero"] / device["prunable"] == pytest.approx(0.5, abs=0.01)


def test_masks_are_final_and_the_best_epoch_is_pruned(trained):
    states = torch.load(trained / "checkpoint.pth", weights_only=False)
    stats = states["reporter"]["stats"]
    assert [stats[e]["valid"]["masks_final"] for e in sorted(stats)] == [0.0, 0.0, 1.0, 1.0]
    assert int(states["model"]["pruner.step"]) == 16 == int(states["model"]["pruner.total_steps"])
    best = torch.load(trained / "valid.loss.best.pth", weights_only=True)
    assert int(best["pruner.step"]) in (12, 16)  # epochs 3 and 4


def test_statistics_are_collected(tiny_corpus, tmp_path):
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml",
        train_shape_file=[str(tiny_corpus.root / "train/wav.scp")],
        valid_shape_file=[str(tiny_corpus.root / "valid/wav.scp")],
        normalize_conf={"stats_file": str(tmp_path / "not_made_yet.npz")},
    )
    out = tmp_path / "stats"
    asr_train.main(["--config", str(config), "--output_dir", str(out), "--collect_stats", "true"])
    stats = np.load(out / "train/feats_stats.npz")
    assert stats["sum"].shape == (8,) and stats["count"] > 100
    shapes = (out / "train/speech_shape").read_text().split()
    assert shapes == (tiny_corpus.root / "train/speech_shape").read_text().split()
    assert (out / "valid/text_shape").read_text().startswith("valid0 3")


def test_training_too_short_for_its_schedule_is_told(tiny_corpus, tmp_path, capsys):
    supernet = tiny_corpus.config()["supernet_conf"]
    supernet = {**supernet, "schedule": {"kind": "cubic", "begin": 2, "end": 50, "update_every": 1}}
    config = tiny_corpus.write_config(tmp_path / "train.yaml", supernet_conf=supernet, max_epoch=1)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    assert "warning: training ended at update 4, before" in capsys.readouterr().out


def test_a_pretrained_supernet_starts_its_schedule_anew(trained, tiny_corpus, tmp_path):
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml", init_param=[str(trained / "4epoch.pth")], max_epoch=2
    )
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    states = torch.load(tmp_path / "exp/2epoch.pth", weights_only=True)
    assert int(states["pruner.step"]) == 8 == int(states["pruner.total_steps"])


def test_statistics_of_every_subnet_reach_tensorboard(tiny_corpus, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_corpus.write_config(tmp_path / "train.yaml", use_tensorboard=True, max_epoch=1)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    events = EventAccumulator(str(tmp_path / "exp/tensorboard/valid")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss_server", "loss_device", "cer_server", "cer_device", "sparsity_device"} <= tags


def test_an_epoch_without_updates_is_an_error(tiny_corpus, tmp_path):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", accum_grad=5)
    with pytest.raises(ConfigError, match="no update was made.*accum_grad"):
        asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])


def test_a_missing_file_is_named(tiny_corpus, tmp_path):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", train_shape_file=["no_shape"])
    with pytest.raises(DataError, match="no_shape: no such file"):
        asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])


def test_a_full_disk_outside_a_checkpoint_is_told(tiny_corpus, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", "progress.log")

    monkeypatch.setattr("espnet2_supernet.train.monitor.EpochMonitor.say", full)
    config = tiny_corpus.write_config(tmp_path / "train.yaml")
    with pytest.raises(CheckpointError, match="progress.log: disk full"):
        asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])


def test_user_errors_end_with_status_1_and_parser_errors_with_2(tiny_corpus, tmp_path, capsys):
    def fail():
        raise CheckpointError("checkpoint.pth: disk full")

    with pytest.raises(SystemExit) as caught:
        run_main(fail)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: checkpoint.pth: disk full\n"
    config = tiny_corpus.write_config(tmp_path / "train.yaml", max_epochs=3)
    with pytest.raises(SystemExit) as caught:
        asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    assert caught.value.code == 2
    assert "max_epochs" in (err := capsys.readouterr().err) and "mean 'max_epoch'?" in err
