"""Two processes against one, at the same global batch."""

import pytest
import torch

from espnet2_supernet.bin import asr_train
from espnet2_supernet.tasks.asr import SupernetASRTask


def curve(folder) -> list[tuple[float, float]]:
    states = torch.load(folder / "checkpoint.pth", weights_only=False)
    stats = states["reporter"]["stats"]
    return [(stats[e]["train"]["loss"], stats[e]["valid"]["loss"]) for e in sorted(stats)]


def test_two_processes_follow_the_loss_curve_of_one(tiny_corpus, tmp_path, run_two_ranks):
    torch.set_num_threads(1)
    encoder = {**tiny_corpus.config()["encoder_conf"], "dropout_rate": 0.0}
    config = tiny_corpus.write_config(
        tmp_path / "train.yaml", batch_size=4, encoder_conf=encoder, max_epoch=5
    )
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "one")])

    run_two_ranks(SupernetASRTask, config, tmp_path / "two")

    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == 5 and one[-1][0] < one[0][0]
    for left, right in zip(one, two, strict=True):
        assert right == pytest.approx(left, rel=1e-5)
    a, b = (
        torch.load(tmp_path / name / "5epoch.pth", weights_only=True) for name in ("one", "two")
    )
    for key, value in a.items():
        if value.dtype == torch.bool:
            assert torch.equal(value, b[key]), key  # masks: exactly
        else:
            torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4)
    # only the first rank tells and writes
    assert len((tmp_path / "two/progress.log").read_text().splitlines()) == 5
