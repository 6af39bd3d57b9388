"""Two processes against one, at the same global batch."""

import torch

from espnet2_supernet.tasks.asr import SupernetASRTask


def test_two_processes_follow_the_loss_curve_of_one(tiny_corpus, tmp_path, assert_two_ranks_agree):
    encoder = {**tiny_corpus.config()["encoder_conf"], "dropout_rate": 0.0}
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml", batch_size=4, encoder_conf=encoder, max_epoch=5
    )
    losses = [("train", "loss"), ("valid", "loss")]
    assert_two_ranks_agree(SupernetASRTask, config, losses, rel=1e-5)
    stats = torch.load(tmp_path / "one/checkpoint.pth", weights_only=False)["reporter"]["stats"]
    assert len(stats) == 5 and stats[5]["train"]["loss"] < stats[1]["train"]["loss"]
    # only the first rank tells and writes
    assert len((tmp_path / "two/progress.log").read_text().splitlines()) == 5
