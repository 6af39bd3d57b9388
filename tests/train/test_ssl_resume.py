"""Pre-training broken off and resumed, and two processes against one."""

import pytest
import torch

from espnet2_supernet.bin import ssl_train
from espnet2_supernet.tasks.ssl import SupernetSSLTask

# Accumulation over 3 of 4 batches leaves one over at the end of each epoch; dropout, crops, spans,
# negatives and Gumbel noise are random.
OPTIONS = {
    "batch_size": 2,
    "accum_grad": 3,
    "max_epoch": 4,
    "collate_fn_conf": {"max_sample_size": 8000},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 3},
}


def stop_after(epochs: int, cmd: list[str]) -> None:
    """Pre-train in this process and break off after some epochs, in the middle of the next."""

    class Stop(Exception):
        pass

    from espnet2_supernet.ssl.model import SupernetSSLModel

    original, batches = SupernetSSLModel.forward, []

    def counted(self, *args, **kwargs):
        batches.append(self.training)
        if sum(batches) > 4 * epochs + 2:
            raise Stop
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SupernetSSLModel, "forward", counted)
        with pytest.raises(Stop):
            ssl_train.main(cmd)


def test_a_resumed_run_has_the_same_weights_codebooks_and_masks(tiny_corpus, tmp_path):
    torch.set_num_threads(1)
    config = tiny_corpus.write_ssl_config(tmp_path / "train.yaml", **OPTIONS)
    cmd = ["--config", str(config), "--resume", "true", "--output_dir"]
    ssl_train.main([*cmd, str(tmp_path / "whole")])
    stop_after(2, [*cmd, str(tmp_path / "broken")])
    assert (tmp_path / "broken/2epoch.pth").exists()
    assert not (tmp_path / "broken/3epoch.pth").exists()
    torch.manual_seed(999)  # nothing may depend on the state that this process happens to have
    ssl_train.main([*cmd, str(tmp_path / "broken")])
    left, right = (
        torch.load(tmp_path / name / "4epoch.pth", weights_only=True)
        for name in ("whole", "broken")
    )
    assert left.keys() == right.keys()
    assert {"heads.quantizer.codebooks", "heads.quantizer.num_updates"} <= left.keys()
    assert not [key for key in left if not torch.equal(left[key], right[key])]
    assert int(left["heads.quantizer.num_updates"]) == int(left["pruner.step"]) == 4
    assert int(left["num_batches"]) == 16


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
        encoder_conf=given["encoder_conf"] | {"dropout_rate": 0.0},
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
