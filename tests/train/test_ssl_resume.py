"""Pre-training killed with SIGKILL and resumed, and two processes against one."""

import itertools

import pytest

from espnet2_supernet.tasks.ssl import SupernetSSLTask

# Accumulation over 3 of 40 batches leaves one over at the end of each epoch; dropout, LayerDrop,
# crops, spans, negatives and Gumbel noise are random. An epoch is long enough to be killed in its
# middle.
OPTIONS = {
    "batch_size": 2,
    "num_iters_per_epoch": 40,
    "accum_grad": 3,
    "max_epoch": 4,
    "collate_fn_conf": {"max_sample_size": 8000},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 3},
}


def test_killed_and_resumed_gives_the_same_weights_codebooks_and_masks(
    tiny_corpus, tmp_path, kill_and_resume
):
    encoder = tiny_corpus.ssl_config()["encoder_conf"] | {"layerdrop": 0.3}
    config = tiny_corpus.write_ssl_config(tmp_path / "train.yaml", encoder_conf=encoder, **OPTIONS)
    states = kill_and_resume(SupernetSSLTask, config)
    assert "heads.quantizer.codebooks" in states
    assert int(states["heads.quantizer.num_updates"]) == int(states["pruner.step"]) == 52
    assert int(states["num_batches"]) == 160


@pytest.mark.parametrize("sequential", [False, True])
def test_two_processes_agree_with_one(tiny_corpus, tmp_path, sequential, assert_two_ranks_agree):
    """Spans, negatives and noise are the utterances'; the diversity is of the whole batch."""
    given = tiny_corpus.ssl_config()
    config = tiny_corpus.write_ssl_config(
        tmp_path / "train.yaml",
        batch_size=4,
        max_epoch=3,
        collate_fn_conf={"max_sample_size": 8000},
        encoder_conf=given["encoder_conf"] | {"dropout_rate": 0.0, "layerdrop": 0.3},
        model_conf=given["model_conf"] | {"dropout_features": 0.0, "loss_weights": [1.0, 0.1]},
        supernet_conf=given["supernet_conf"] | {"sequential_backward": sequential},
    )
    keys = ["loss", "loss_server", "loss_device", "loss_diversity", "code_perplexity_0"]
    statistics = itertools.product(("train", "valid"), keys)
    assert_two_ranks_agree(SupernetSSLTask, config, [*statistics])
