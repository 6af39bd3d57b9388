"""A student killed with SIGKILL and resumed, and two processes against one."""

import itertools

import torch

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


def test_killed_and_resumed_gives_the_same_weights(tiny_corpus, trained, tmp_path, kill_and_resume):
    config = tiny_corpus.write_encrl_config(tmp_path / "train.yaml", trained, **OPTIONS)
    states = kill_and_resume(SupernetEncRLTask, config)
    assert int(states["num_batches"]) == 160 and int(states["pruner.step"]) == 52


def test_two_processes_agree_with_one(tiny_corpus, trained, tmp_path, assert_two_ranks_agree):
    """CLIP compares the utterances of the whole batch, of which the ranks have 2 and 1."""
    given = tiny_corpus.encrl_config(trained)
    config = tiny_corpus.write_encrl_config(
        tmp_path / "train.yaml",
        trained,
        max_epoch=3,
        encoder_conf=given["encoder_conf"] | {"dropout_rate": 0.0},
        model_conf={"losses": {"mse": 1.0, "clip": 1.0, "kl": 0.5}, "clip": {"learn_scale": True}},
    )
    keys = ["loss", "loss_clip_server", "loss_mse_device", "retrieval_device", "agreement_server"]
    statistics = itertools.product(("train", "valid"), keys)
    states = assert_two_ranks_agree(SupernetEncRLTask, config, [*statistics])
    assert states["log_scale"] != torch.tensor(100 / 7).log()
