import pytest
import torch

from espnet2_supernet.bin import asr_train
from espnet2_supernet.sparsity import block_linear
from espnet2_supernet.tasks import base


@pytest.mark.parametrize("given, wanted", [(None, True), ("false", False)])
def test_the_block_kernels_are_a_choice_of_the_configuration(
    given, wanted, tiny_corpus, tmp_path, monkeypatch
):
    before = torch.backends.mkldnn.matmul.fp32_precision
    monkeypatch.setattr(block_linear, "_enabled", not wanted)
    seen = []
    monkeypatch.setattr(
        base.PlottingTrainer,
        "run",
        lambda **_: seen.append(
            (block_linear._enabled, torch.backends.mkldnn.matmul.fp32_precision)
        ),
    )
    config = tiny_corpus.write_config(tmp_path / "train.yaml", max_epoch=1)
    option = [] if given is None else ["--sparse_training_kernels", given]
    option += ["--onednn_matmul", "true"]
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp"), *option])
    assert seen == [(wanted, "bf16")]
    # what the process used before is left as it was
    assert block_linear._enabled is not wanted
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_a_resumed_training_with_kernels_ends_at_the_same_bits(tiny_corpus, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(block_linear, "MIN_ROWS", 1)
    used = []
    kernels = block_linear.block_linear
    monkeypatch.setattr(
        "espnet2_supernet.sparsity.linear.block_linear",
        lambda *args: used.append(1) or kernels(*args),
    )
    table = tiny_corpus.config()["supernet_conf"]
    table["subnets"]["device"]["mask"] = {"pattern": {"block": [16, 1]}, "sparsity": 0.5}
    table["schedule"] = {"kind": "constant", "begin": 2, "end": 8, "update_every": 1}

    def train(name, *options):
        config = tiny_corpus.write_config(tmp_path / f"{name}.yaml", supernet_conf=table)
        out = tmp_path / name
        asr_train.main(["--config", str(config), "--output_dir", str(out), *options])
        return out

    whole = train("whole")
    train("parts", "--max_epoch", "2")
    parts = train("parts", "--resume", "true")
    assert used or block_linear._products() is None
    once, twice = (torch.load(out / "4epoch.pth", weights_only=True) for out in (whole, parts))
    changed = [key for key in once if not torch.equal(once[key], twice[key])]
    assert changed == ["pruner.total_steps"]  # the second was planned shorter
