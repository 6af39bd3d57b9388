"""Heads of their own: two processes and one, killed and resumed, averaged."""

import torch

from espnet2_supernet.tasks.asr import SupernetASRTask

SUPERNET = {
    "subnets": {
        "server": {"context": "full"},
        "low": {"context": {"chunk_size": 4, "left_context": 4}, "depth": 1, "head": "own"},
        "high": {"depth": {"layers": 1, "keep": "last"}, "head": "own"},
    },
    "sampling": {"always": ["low"], "extra": 1},
}
HEADS = [f"ctc_heads.head_{name}.ctc_lo.weight" for name in ("low", "high")]


def write(tiny_corpus, tmp_path, dropout, **changes):
    encoder = tiny_corpus.config()["encoder_conf"] | {"dropout_rate": dropout}
    changes |= {"encoder_conf": encoder, "supernet_conf": SUPERNET, "optim_conf": {"lr": 0.02}}
    return tiny_corpus.write_config(tmp_path / "train.yaml", **changes)


def test_two_processes_agree_with_one(tiny_corpus, tmp_path, assert_two_ranks_agree):
    config = write(tiny_corpus, tmp_path, 0.0, batch_size=4)
    losses = [("train", "loss"), *(("valid", f"loss_{name}") for name in SUPERNET["subnets"])]
    states = assert_two_ranks_agree(SupernetASRTask, config, losses)
    heads = [states[key] for key in ("ctc.ctc_lo.weight", *HEADS)]
    assert all(not torch.equal(one, heads[0]) for one in heads[1:]), "they have parted"


def test_killed_and_resumed(tiny_corpus, tmp_path, kill_and_resume):
    config = write(tiny_corpus, tmp_path, 0.1, keep_nbest_models=4)
    kill_and_resume(SupernetASRTask, config)
    epochs = [torch.load(tmp_path / f"whole/{n}epoch.pth", weights_only=True) for n in range(1, 5)]
    average = torch.load(tmp_path / "whole/valid.loss.ave.pth", weights_only=True)
    for key in (*HEADS, "encoder.norm.norm_low.weight"):
        mean = torch.stack([states[key] for states in epochs]).mean(0)
        torch.testing.assert_close(average[key], mean)
