"""Subnets of several depths, drawn by turns while layers are dropped: two processes and one."""

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


def test_two_processes_agree_with_one(tiny_corpus, tmp_path, assert_two_ranks_agree):
    encoder = tiny_corpus.config()["encoder_conf"]
    encoder |= {"dropout_rate": 0.0, "layerdrop": 0.3, "layerdrop_keep_norm": True}
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml", batch_size=4, encoder_conf=encoder, supernet_conf=SUPERNET
    )
    losses = [("train", "loss"), ("valid", "loss_free")]
    assert_two_ranks_agree(SupernetASRTask, config, losses)
