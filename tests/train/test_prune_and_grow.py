"""SAFARI in a real training: swaps, resuming in the midst of them, a smaller model at the end."""

import json

import pytest
import torch

from espnet2_supernet.bin import asr_train, prune_extract

KINDS = ["attention_heads", "linear_units", "convolution_channels"]
MASK = {"pattern": {"structured": {"kinds": KINDS}}, "sparsity": 0.5, "ranking": "kind"}
CONTEXT = {"chunk_size": 4, "left_context": 4}
OPTIONS = {
    "batch_size": 3,
    "accum_grad": 2,  # of 3 batches: one is left over at the end of each epoch
    "max_epoch": 6,
    "supernet_conf": {
        "subnets": {"device": {"context": CONTEXT, "mask": MASK}},
        "schedule": {
            "kind": "prune_and_grow",
            "begin": 0.0,
            "end": 0.8,
            "update_every": 1,
            "growth": "initial",
            "gradient_steps": 2,
            "swap": 1.0,
        },
    },
    "keep_nbest_models": 1,
}


@pytest.fixture(scope="module")
def left_alone(tiny_corpus, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("left_alone")
    config = tiny_corpus.write_config(out / "train.yaml", **OPTIONS)
    asr_train.main(["--config", str(config), "--output_dir", str(out / "exp")])
    return out / "exp"


def test_resumed_equals_uninterrupted(
    left_alone, tiny_corpus, tmp_path, stop_after, assert_same_models
):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **OPTIONS)
    out = tmp_path / "exp"
    cmd = ["--config", str(config), "--output_dir", str(out), "--resume", "true"]
    stop_after(3, cmd)
    torch.manual_seed(999)
    asr_train.main(cmd)
    assert_same_models(left_alone, out)


def test_units_were_swapped_and_the_result_is_smaller(left_alone, tmp_path):
    epochs = [
        torch.load(left_alone / f"{n}epoch.pth", weights_only=True)
        for n in (5, 6)
        if (left_alone / f"{n}epoch.pth").exists()
    ]
    assert all(int(states["pruner.step"]) >= 5 for states in epochs)
    model = left_alone / "valid.loss.ave.pth"
    cmd = ["--asr_model_file", str(model), "--subnet", "device"]
    prune_extract.main([*cmd, "--output_dir", str(tmp_path / "device")])
    summary = json.loads((tmp_path / "device/extract.json").read_text())
    assert summary["max_abs_diff"] <= 1e-5
    counts = json.loads((left_alone / "subnets.json").read_text())["device"]
    assert summary["parameters"] == counts["nonzero"] < counts["parameters"]
    assert counts["prunable_nonzero"] / counts["prunable"] == pytest.approx(0.5)
