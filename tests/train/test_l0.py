"""Hard-concrete gates in a real training: stopped in the midst of them, resumed, cut at the end."""

import json

import pytest
import torch

from espnet2_supernet.bin import asr_train, prune_extract

KINDS = ["key_dimensions", "value_dimensions", "linear_units"]
MASK = {"pattern": {"structured": {"kinds": KINDS}}, "sparsity": 0.5, "ranking": "kind"}
OPTIONS = {
    "batch_size": 3,
    "accum_grad": 2,  # of 3 batches: one is left over at the end of each epoch
    "max_epoch": 4,
    "supernet_conf": {
        "subnets": {"device": {"context": {"chunk_size": 4, "left_context": 4}, "mask": MASK}},
        "schedule": {"kind": "l0", "begin": 0.5, "end": 0.8, "learning_rate": 0.1},
    },
    "keep_nbest_models": 1,
}


def test_resumed_equals_uninterrupted_and_the_result_is_smaller(
    tiny_corpus, tmp_path, stop_after, assert_same_models
):
    torch.set_num_threads(1)
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **OPTIONS)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "whole")])
    cmd = ["--config", str(config), "--output_dir", str(tmp_path / "exp"), "--resume", "true"]
    stop_after(2, cmd)
    torch.manual_seed(999)
    asr_train.main(cmd)
    assert_same_models(tmp_path / "whole", tmp_path / "exp")

    model = tmp_path / "exp/4epoch.pth"
    assert torch.load(model, weights_only=True)["pruner.gates.values"].abs().sum() > 0
    cmd = ["--asr_model_file", str(model), "--subnet", "device"]
    prune_extract.main([*cmd, "--output_dir", str(tmp_path / "device")])
    summary = json.loads((tmp_path / "device/extract.json").read_text())
    assert summary["max_abs_diff"] <= 1e-5
    assert summary["prunable_nonzero"] / summary["prunable"] == pytest.approx(0.5, abs=0.02)
