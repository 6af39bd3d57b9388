"""Two trainings on one output folder wrote over each other's checkpoints in silence."""

import multiprocessing
import time

import pytest
import torch

from espnet2_supernet.bin import asr_train, ssl_train
from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.tasks.asr import SupernetASRTask


def test_the_second_training_is_refused_and_the_first_can_be_resumed(tiny_corpus, tmp_path):
    torch.set_num_threads(1)
    out = tmp_path / "exp"
    config = tiny_corpus.write_config(tmp_path / "train.yaml", max_epoch=100_000)
    cmd = ["--config", str(config), "--output_dir", str(out), "--resume", "true"]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([SupernetASRTask.__module__])
    first = context.Process(target=SupernetASRTask.main, kwargs={"cmd": cmd})
    first.start()
    try:
        while not (out / "1epoch.pth").exists():
            assert first.is_alive()
            time.sleep(0.01)
        before = (out / "config.yaml").read_text()
        other = tiny_corpus.write_ssl_config(tmp_path / "ssl.yaml")
        for main, options in ((asr_train.main, cmd), (ssl_train.main, ["--config", str(other)])):
            with pytest.raises(CheckpointError, match=rf"exp: process {first.pid} on "):
                main([*options, "--output_dir", str(out)])
        assert (out / "config.yaml").read_text() == before
    finally:
        first.kill()
        first.join()
    epochs = torch.load(out / "checkpoint.pth", weights_only=False)["reporter"]["epoch"]
    asr_train.main([*cmd, "--max_epoch", str(epochs + 1)])
    assert (out / f"{epochs + 1}epoch.pth").exists()
