"""A student killed with SIGKILL and resumed, and two processes against one."""

import pytest
import torch

from espnet2_supernet.bin import encrl_train
from espnet2_supernet.tasks.encrl import SupernetEncRLTask

# Accumulation over 3 of 40 batches leaves one over at the end of each epoch; SpecAugment and
# dropout are random. An epoch is long enough to be killed in its middle.
OPTIONS = {
    "batch_size": 3,
    "num_iters_per_epoch": 40,
    "accum_grad": 3,
    "max_epoch": 4,
    "specaug": "specaug",
    "specaug_conf": {
        "apply_time_warp": False,
        "freq_mask_width_range": [0, 3],
        "apply_time_mask": False,
    },
    "model_conf": {"clip": {"learn_scale": True}},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 3},
}


def test_killed_and_resumed_gives_the_same_weights(
    tiny_corpus, trained, tmp_path, train_and_kill, assert_same_models
):
    torch.set_num_threads(1)
    config = tiny_corpus.write_encrl_config(tmp_path / "train.yaml", trained, **OPTIONS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    cmd = ["--config", str(config), "--resume", "true", "--output_dir"]
    encrl_train.main([*cmd, str(whole)])
    train_and_kill(SupernetEncRLTask, [*cmd, str(killed)], killed / "2epoch.pth", delay=0.1)
    assert not (killed / "4epoch.pth").exists(), "it was killed before its end"
    torch.manual_seed(999)  # nothing may depend on the state that this process happens to have
    encrl_train.main([*cmd, str(killed)])
    assert_same_models(whole, killed)
    states = torch.load(killed / "4epoch.pth", weights_only=True)
    assert int(states["num_batches"]) == 160 and int(states["pruner.step"]) == 52


def curve(folder) -> list[list[float]]:
    stats = torch.load(folder / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    keys = ["loss", "loss_clip_server", "loss_mse_device", "retrieval_device", "agreement_server"]
    return [[stats[e][part][k] for part in ("train", "valid") for k in keys] for e in sorted(stats)]


def test_two_processes_agree_with_one(tiny_corpus, trained, tmp_path, run_two_ranks):
    """CLIP compares the utterances of the whole batch, of which the ranks have 2 and 1."""
    torch.set_num_threads(1)
    given = tiny_corpus.encrl_config(trained)
    config = tiny_corpus.write_encrl_config(
        tmp_path / "train.yaml",
        trained,
        max_epoch=3,
        encoder_conf=given["encoder_conf"] | {"dropout_rate": 0.0},
        model_conf={"losses": {"mse": 1.0, "clip": 1.0, "kl": 0.5}, "clip": {"learn_scale": True}},
    )
    encrl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "one")])

    run_two_ranks(SupernetEncRLTask, config, tmp_path / "two")

    for left, right in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert right == pytest.approx(left, rel=1e-4, abs=1e-5)
    a, b = (
        torch.load(tmp_path / name / "3epoch.pth", weights_only=True) for name in ("one", "two")
    )
    assert a["log_scale"] != torch.tensor(100 / 7).log()
    for key, value in a.items():
        if value.dtype in (torch.bool, torch.int64):
            assert torch.equal(value, b[key]), key  # masks and counters: exactly
        else:
            torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4)
