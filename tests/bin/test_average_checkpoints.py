import pytest
import torch

from espnet2_supernet.bin import average_checkpoints
from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.tasks.asr import SupernetASRTask


def average(out, *files, more=()):
    names = [str(file) for file in files]
    average_checkpoints.main(["--model_files", *names, "--out", str(out), *more])
    return torch.load(out, weights_only=True)


def test_frozen_masks_are_kept(trained, tmp_path):
    files = [trained / "3epoch.pth", trained / "4epoch.pth"]
    result = average(tmp_path / "ave.pth", *files)
    first, last = (torch.load(file, weights_only=True) for file in files)
    for key, value in result.items():
        if value.dtype == torch.bool:
            assert torch.equal(value, last[key])
        elif value.is_floating_point():
            torch.testing.assert_close(value, (first[key] + last[key]) / 2)
    assert int(result["pruner.step"]) == 16
    SupernetASRTask.build_model_from_file(trained / "config.yaml", tmp_path / "ave.pth")


def test_masks_that_differ_need_the_configuration(trained, tmp_path):
    other = torch.load(trained / "4epoch.pth", weights_only=True)
    key = next(key for key, value in other.items() if value.dtype == torch.bool)
    other[key] = torch.ones_like(other[key])
    other["pruner.step"] = torch.tensor(5)
    torch.save(other, tmp_path / "early.pth")
    files = [tmp_path / "early.pth", trained / "4epoch.pth"]
    with pytest.raises(CheckpointError, match=r"\d+epoch\.pth, .*the mask differs"):
        average(tmp_path / "ave.pth", *files)
    assert not (tmp_path / "ave.pth").exists()
    more = ["--asr_train_config", str(trained / "config.yaml")]
    result = average(tmp_path / "ave.pth", *files, more=more)
    assert result[key].dtype == torch.bool and not result[key].all()


def test_bad_input_is_named(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"9epoch\.pth: no such model file"):
        average(tmp_path / "ave.pth", trained / "9epoch.pth")
    with pytest.raises(CheckpointError, match="is one of --model_files"):
        average(trained / "4epoch.pth", trained / "4epoch.pth")
    with pytest.raises(CheckpointError, match="does not exist"):
        average(tmp_path / "no/ave.pth", trained / "4epoch.pth")
