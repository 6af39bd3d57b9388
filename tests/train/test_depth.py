"""Subnets of several depths, drawn by turns while layers are dropped: two processes and one."""

import pytest
import torch

from espnet2_supernet.bin import asr_train
from espnet2_supernet.tasks.asr import SupernetASRTask

SUPERNET = {
    "subnets": {
        "low": {"context": {"chunk_size": 4, "left_context": 4}, "depth": 1},
        "server": {"context": "full"},
        "high": {"depth": {"layers": 1, "keep": "last"}},
        "free": {"depth": {"layers": 1, "keep": "spread"}},
    },
    "sampling": {"always": ["low"], "extra": 1, "by_layerdrop": ["free"]},
}


def curve(folder):
    stats = torch.load(folder / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    return [(stats[e]["train"]["loss"], stats[e]["valid"]["loss_free"]) for e in sorted(stats)]


def test_two_processes_agree_with_one(tiny_corpus, tmp_path, run_two_ranks):
    torch.set_num_threads(1)
    encoder = tiny_corpus.config()["encoder_conf"]
    encoder |= {"dropout_rate": 0.0, "layerdrop": 0.3, "layerdrop_keep_norm": True}
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml", batch_size=4, encoder_conf=encoder, supernet_conf=SUPERNET
    )
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "one")])
    run_two_ranks(SupernetASRTask, config, tmp_path / "two")
    for left, right in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert right == pytest.approx(left, rel=1e-4)
    a, b = (
        torch.load(tmp_path / name / "4epoch.pth", weights_only=True) for name in ("one", "two")
    )
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4, msg=key)
