"""Promise 4 with dropped frames: killed and resumed, on two ranks, of the recogniser and the
detector.
"""

import numpy as np
import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train
from espnet2_supernet.damon.labels import LabelInfo, write_labels
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.salad import SaladTask

TOKENS = {
    "server": {"kind": "random", "keep_ratio": 0.6, "before_block": 2},
    "device": {
        "kind": "downsample",
        "positions": "compacted",
        "restore_before_block": 2,
        "restored": "last_change",
    },
}


def asr_config(tiny_corpus, path, **changes):
    table = tiny_corpus.config()["supernet_conf"]
    for name, row in table["subnets"].items():
        row["tokens"] = TOKENS[name]
    return tiny_corpus.write_config(path, supernet_conf=table, **changes)


def detector_config(tiny_corpus, trained, folder):
    """Random labels of the right lengths, for the recogniser of ``trained``."""
    model = yaml.safe_load((trained / "config.yaml").read_text())
    info = LabelInfo("teacher", "server", "full context", tuple(model["token_list"]), 0, 40.0)
    rng = np.random.default_rng(0)
    for name in ("train", "valid"):
        shapes = (tiny_corpus.root / name / "speech_shape").read_text().splitlines()
        frames = {k: (1 + (int(n) - 400) // 160) // 4 for k, n in map(str.split, shapes)}
        labels = [(key, rng.integers(0, 3, n)) for key, n in frames.items()]
        write_labels(folder / name, labels, info)
    recogniser = trained / "valid.loss.ave.pth"
    return tiny_corpus.write_salad_config(folder / "c.yaml", folder, recogniser, max_epoch=3)


def test_a_resumed_training_gives_the_same_weights(
    tiny_corpus, tmp_path, stop_after, assert_same_models
):
    torch.set_num_threads(1)
    config = asr_config(tiny_corpus, tmp_path / "train.yaml")
    cmd = ["--config", str(config), "--resume", "true", "--output_dir"]
    asr_train.main([*cmd, str(tmp_path / "whole")])
    stop_after(2, [*cmd, str(tmp_path / "killed")])
    torch.manual_seed(999)
    asr_train.main([*cmd, str(tmp_path / "killed")])
    assert_same_models(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("kind", ["recogniser", "detector"])
def test_two_processes_agree_with_one(tiny_corpus, trained, tmp_path, assert_two_ranks_agree, kind):
    if kind == "recogniser":
        encoder = tiny_corpus.config()["encoder_conf"] | {"dropout_rate": 0.0}
        config = asr_config(tiny_corpus, tmp_path / "train.yaml", encoder_conf=encoder, max_epoch=3)
        assert_two_ranks_agree(SupernetASRTask, config)
    else:
        assert_two_ranks_agree(SaladTask, detector_config(tiny_corpus, trained, tmp_path))
