import errno
from pathlib import Path

import pytest
import torch

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.train.checkpoint import (
    atomic_save,
    check_same_model,
    load_strictly,
    load_weights,
    replace_link,
)


def masked_model() -> torch.nn.Module:
    layer = MaskedLinear(4, 2)
    layer.add_mask("device")
    return torch.nn.Sequential(layer)


def test_a_saved_file_is_read_back(tmp_path):
    path = tmp_path / "1epoch.pth"
    atomic_save({"w": torch.ones(2)}, path)
    assert torch.equal(load_weights(path)["w"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["1epoch.pth"]


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch, where):
    path = tmp_path / "checkpoint.pth"
    atomic_save({"w": torch.ones(2)}, path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "write":
        monkeypatch.setattr(torch, "save", full)
    else:
        monkeypatch.setattr(f"espnet2_supernet.atomic.os.{where}", full)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth.*disk full.*previous.*intact"):
        atomic_save({"w": torch.zeros(2)}, path)
    monkeypatch.undo()
    assert torch.equal(load_weights(path)["w"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_a_really_full_device_is_told(tmp_path, monkeypatch):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    name = "espnet2_supernet.train.checkpoint.open"
    monkeypatch.setattr(name, lambda *_: full.open("wb"), raising=False)
    with pytest.raises(CheckpointError, match="disk full"):
        atomic_save({"w": torch.ones(100_000)}, tmp_path / "checkpoint.pth")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "2epoch.pth"
    with pytest.raises(CheckpointError, match="no such model file"):
        load_weights(path)
    path.touch()
    with pytest.raises(CheckpointError, match="empty"):
        load_weights(path)
    atomic_save({"w": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"2epoch\.pth: not a readable model file"):
        load_weights(path)


def test_a_training_checkpoint_is_not_a_model_file(tmp_path):
    atomic_save({"model": {"w": torch.ones(1)}, "reporter": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="not a tensor"):
        load_weights(tmp_path / "checkpoint.pth")


def test_every_key_must_fit():
    model = masked_model()
    good = model.state_dict()
    load_strictly(model, good, "x.pth")
    with pytest.raises(CheckpointError, match=r"1 missing keys \(0.mask_device"):
        load_strictly(model, {k: v for k, v in good.items() if "mask" not in k}, "x.pth")
    with pytest.raises(CheckpointError, match=r"1 unexpected keys \(other"):
        load_strictly(model, {**good, "other": torch.ones(1)}, "x.pth")
    with pytest.raises(CheckpointError, match=r"'0.bias' is \(3,\)"):
        load_strictly(model, {**good, "0.bias": torch.ones(3)}, "x.pth")
    averaged = {**good, "0.mask_device": good["0.mask_device"] / 3}
    with pytest.raises(CheckpointError, match="damaged by an average"):
        load_strictly(model, averaged, "x.pth")


def test_another_configuration_is_refused_by_name():
    old = {"encoder_conf": {"num_blocks": 2, "kernel": [1, 3]}, "optim": "adam"}
    check_same_model(old, {"encoder_conf": {"num_blocks": 2, "kernel": (1, 3)}, "optim": "sgd"}, "")
    with pytest.raises(CheckpointError, match=r"exp: .*encoder_conf\.num_blocks was 2, is 3"):
        check_same_model(old, {"encoder_conf": {"num_blocks": 3, "kernel": [1, 3]}}, "exp")


def test_a_link_is_replaced(tmp_path):
    link = tmp_path / "best.pth"
    replace_link(link, "1epoch.pth")
    replace_link(link, "2epoch.pth")
    assert link.readlink().name == "2epoch.pth"
