"""Averages of detectors were refused: their threshold is no number until it is chosen."""

import pytest
import torch

from espnet2_supernet.bin import average_checkpoints
from espnet2_supernet.damon.detector import THRESHOLD_KEY, SaladDetector
from espnet2_supernet.errors import CheckpointError


def saved(path, seed, **changes):
    """Write a detector as its training does, among the other tensors of its model."""
    torch.manual_seed(seed)
    states = SaladDetector(4, channels=2, kernel_size=3).state_dict()
    states = {f"detector.{key}": value for key, value in states.items()} | changes
    torch.save(states, path)
    return states


def average(folder):
    files = [str(folder / "1epoch.pth"), str(folder / "2epoch.pth")]
    average_checkpoints.main(["--model_files", *files, "--out", str(folder / "a.pth")])
    return torch.load(folder / "a.pth", weights_only=True)


def test_two_detectors_are_averaged(tmp_path):
    one, two = (saved(tmp_path / f"{seed}epoch.pth", seed) for seed in (1, 2))
    found = average(tmp_path)
    assert found.pop(THRESHOLD_KEY).isnan() and found.keys() < one.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, (one[key] + two[key]) / 2)


@pytest.mark.parametrize("key", [THRESHOLD_KEY, "detector.linear_out.bias"])
def test_what_only_one_of_them_has_not_is_refused(tmp_path, key):
    saved(tmp_path / "1epoch.pth", 1, **{key: torch.tensor(0.5)})
    saved(tmp_path / "2epoch.pth", 2, **{key: torch.tensor(torch.nan)})
    with pytest.raises(CheckpointError, match=f"'{key}' of the average is not finite"):
        average(tmp_path)
    assert not (tmp_path / "a.pth").exists()


def test_what_no_training_leaves_open_is_refused(tmp_path):
    for seed in (1, 2):
        saved(tmp_path / f"{seed}epoch.pth", seed, other=torch.tensor(torch.nan))
    with pytest.raises(CheckpointError, match="'other' of the average is not finite"):
        average(tmp_path)
