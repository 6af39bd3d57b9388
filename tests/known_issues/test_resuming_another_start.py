"""A finished training was resumed under other options of its start: the old model by a new name."""

import pytest
import yaml

from espnet2_supernet.bin import asr_train
from espnet2_supernet.errors import CheckpointError


def test_a_training_that_began_otherwise_is_not_resumed(tiny_corpus, tmp_path):
    blocks = tiny_corpus.config()["encoder_conf"] | {"num_blocks": 2}
    config = tiny_corpus.write_config(tmp_path / "large.yaml", encoder_conf=blocks, max_epoch=1)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "large")])
    small = tiny_corpus.write_config(
        tmp_path / "small.yaml", max_epoch=1,
        encoder_conf=blocks | {"num_blocks": 1},
        init_model_file=str(tmp_path / "large/valid.loss.ave.pth"),
    )  # fmt: skip
    cmd = ["--config", str(small), "--output_dir", str(tmp_path / "small"), "--resume", "true"]
    asr_train.main([*cmd, "--init_blocks", "last"])
    written = (tmp_path / "small/config.yaml").read_text()
    assert len(yaml.safe_load(written)["start_sha256"]["init_model_file"]) == 1
    with pytest.raises(CheckpointError, match=r"began with init_blocks last, not first\. Restore"):
        asr_train.main([*cmd, "--init_blocks", "first"])
    with pytest.raises(CheckpointError, match="began with seed 7, not 8"):
        asr_train.main([*cmd, "--init_blocks", "last", "--seed", "8"])
    assert (tmp_path / "small/config.yaml").read_text() == written, "it tells what was trained"
    asr_train.main([*cmd, "--init_blocks", "last", "--max_epoch", "2"])
