"""Training killed with SIGKILL and resumed, against training that was left alone."""

import pytest
import torch

from espnet2_supernet.bin import asr_train
from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.tasks.asr import SupernetASRTask

# Accumulation over 2 of 3 batches leaves one over at the end of each epoch; SpecAugment, dropout
# and random clipping draw random numbers in the model and in the data loader.
OPTIONS = {
    "batch_size": 3,
    "accum_grad": 2,
    "max_epoch": 6,
    "specaug": "specaug",
    "specaug_conf": {
        "apply_time_warp": False,
        "freq_mask_width_range": [0, 3],
        "time_mask_width_range": [0, 2],
    },
    "preprocessor_conf": {
        "fs": 16000,
        "data_aug_effects": [[1.0, "clipping", {}]],
        "data_aug_prob": 0.5,
    },
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 5},
    "keep_nbest_models": 3,
}


@pytest.fixture(scope="module")
def left_alone(tiny_corpus, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("left_alone")
    config = tiny_corpus.write_config(out / "train.yaml", **OPTIONS)
    asr_train.main(["--config", str(config), "--output_dir", str(out / "exp")])
    return out


@pytest.mark.parametrize("delay", [0.0, 0.04], ids=["at_the_checkpoint", "in_mid_epoch"])
def test_killed_and_resumed_gives_the_same_weights(
    left_alone, tiny_corpus, tmp_path, delay, train_and_kill, assert_same_models
):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **OPTIONS)
    out = tmp_path / "exp"
    cmd = ["--config", str(config), "--output_dir", str(out), "--resume", "true"]
    train_and_kill(SupernetASRTask, cmd, out / ("2epoch.pth" if delay else "checkpoint.pth"), delay)
    assert not (out / "6epoch.pth").exists()
    torch.manual_seed(999)  # nothing may depend on the state that this process happens to have
    asr_train.main(cmd)
    assert_same_models(left_alone / "exp", out)


def test_the_epoch_that_a_kill_left_without_file_is_restored(
    left_alone, tiny_corpus, tmp_path, assert_same_models, stop_after
):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **{**OPTIONS, "max_epoch": 6})
    out = tmp_path / "exp"
    cmd = ["--config", str(config), "--output_dir", str(out), "--resume", "true"]
    stop_after(3, cmd)
    (out / "3epoch.pth").unlink()  # as if killed between checkpoint.pth and 3epoch.pth
    (out / ".3epoch.k1ll3d.pth").write_bytes(b"half")
    asr_train.main(cmd)
    assert_same_models(left_alone / "exp", out)
    assert not list(out.glob(".*.pth"))


def test_a_checkpoint_of_another_configuration_is_refused(tiny_corpus, left_alone, tmp_path):
    config = tiny_corpus.config(**OPTIONS)
    encoder = {**config["encoder_conf"], "num_blocks": 3}
    path = tiny_corpus.write_config(tmp_path / "other.yaml", **OPTIONS, encoder_conf=encoder)
    out = left_alone / "exp"
    before = (out / "config.yaml").read_text()
    with pytest.raises(CheckpointError, match=r"encoder_conf\.num_blocks was 2, is 3"):
        asr_train.main(["--config", str(path), "--output_dir", str(out), "--resume", "true"])
    assert (out / "config.yaml").read_text() == before


def test_a_damaged_checkpoint_is_named(tiny_corpus, tmp_path):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **OPTIONS)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/checkpoint.pth").write_bytes(b"half a checkpoint")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth: cannot resume"):
        asr_train.main(
            ["--config", str(config), "--output_dir", str(tmp_path / "exp"), "--resume", "true"]
        )


def test_a_full_disk_during_a_checkpoint_loses_nothing(
    left_alone, tiny_corpus, tmp_path, monkeypatch, assert_same_models
):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **OPTIONS)
    out = tmp_path / "exp"
    cmd = ["--config", str(config), "--output_dir", str(out), "--resume", "true"]
    save, calls = torch.save, []

    def full(obj, file):
        calls.append(1)
        if len(calls) >= 5:  # two files an epoch: the checkpoint of the third
            raise OSError(28, "No space left on device")
        save(obj, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth: .*disk full"):
        asr_train.main(cmd)
    monkeypatch.undo()
    assert torch.load(out / "checkpoint.pth", weights_only=False)["reporter"]["epoch"] == 2
    asr_train.main(cmd)
    assert_same_models(left_alone / "exp", out)
