"""Pre-training killed with SIGKILL and resumed, and two processes against one."""

import pytest
import torch

from espnet2_supernet.bin import ssl_train
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
    tiny_corpus, tmp_path, train_and_kill, assert_same_models
):
    torch.set_num_threads(1)
    encoder = tiny_corpus.ssl_config()["encoder_conf"] | {"layerdrop": 0.3}
    config = tiny_corpus.write_ssl_config(tmp_path / "train.yaml", encoder_conf=encoder, **OPTIONS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    cmd = ["--config", str(config), "--resume", "true", "--output_dir"]
    ssl_train.main([*cmd, str(whole)])
    train_and_kill(SupernetSSLTask, [*cmd, str(killed)], killed / "2epoch.pth", delay=0.1)
    assert not (killed / "4epoch.pth").exists(), "it was killed before its end"
    torch.manual_seed(999)  # nothing may depend on the state that this process happens to have
    ssl_train.main([*cmd, str(killed)])
    assert_same_models(whole, killed)
    states = torch.load(killed / "4epoch.pth", weights_only=True)
    assert "heads.quantizer.codebooks" in states
    assert int(states["heads.quantizer.num_updates"]) == int(states["pruner.step"]) == 52
    assert int(states["num_batches"]) == 160


def curve(folder) -> list[list[float]]:
    stats = torch.load(folder / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    keys = ["loss", "loss_server", "loss_device", "loss_diversity", "code_perplexity_0"]
    return [[stats[e][part][k] for part in ("train", "valid") for k in keys] for e in sorted(stats)]


@pytest.mark.parametrize("sequential", [False, True])
def test_two_processes_agree_with_one(tiny_corpus, tmp_path, sequential, run_two_ranks):
    """Spans, negatives and noise are the utterances'; the diversity is of the whole batch."""
    torch.set_num_threads(1)
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
    ssl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "one")])

    run_two_ranks(SupernetSSLTask, config, tmp_path / "two")

    for left, right in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        assert right == pytest.approx(left, rel=1e-4, abs=1e-5)
    a, b = (
        torch.load(tmp_path / name / "3epoch.pth", weights_only=True) for name in ("one", "two")
    )
    for key, value in a.items():
        if value.dtype in (torch.bool, torch.int64):
            assert torch.equal(value, b[key]), key  # masks and counters: exactly
        else:
            torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4)
