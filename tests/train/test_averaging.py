import pytest
import torch
from espnet2.train.reporter import Reporter

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.train.averaging import average_nbest_models
from espnet2_supernet.train.checkpoint import atomic_save, load_weights

CRITERION = [("valid", "loss", "min")]


def make_epochs(folder, losses, masks) -> Reporter:
    reporter = Reporter()
    for epoch, (loss, mask) in enumerate(zip(losses, masks, strict=True), 1):
        atomic_save(
            {
                "w": torch.full((2,), float(epoch)),
                "mask_device": torch.tensor(mask),
                "pruner.step": torch.tensor(epoch),
            },
            folder / f"{epoch}epoch.pth",
        )
        reporter.set_epoch(epoch)
        with reporter.observe("valid") as phase:
            phase.register({"loss": loss}, 1)
            phase.next()
    return reporter


def test_equal_masks_are_kept_and_weights_averaged(tmp_path):
    mask = [True, False]
    reporter = make_epochs(tmp_path, [3.0, 1.0, 2.0], [mask] * 3)
    average_nbest_models(tmp_path, reporter, CRITERION, 2)
    states = load_weights(tmp_path / "valid.loss.ave_2best.pth")
    assert states["w"].tolist() == [2.5, 2.5]  # epochs 2 and 3
    assert states["mask_device"].tolist() == mask and states["mask_device"].dtype == torch.bool
    assert int(states["pruner.step"]) == 3
    assert (tmp_path / "valid.loss.ave.pth").readlink().name == "valid.loss.ave_2best.pth"
    assert (tmp_path / "valid.loss.best.pth").readlink().name == "2epoch.pth"


def test_epochs_with_other_masks_are_left_out_and_named(tmp_path, caplog):
    masks = [[True, True], [True, True], [True, False], [True, False]]
    reporter = make_epochs(tmp_path, [1.0, 4.0, 2.0, 0.5], masks)
    average_nbest_models(tmp_path, reporter, CRITERION, [1, 4])
    states = load_weights(tmp_path / "valid.loss.ave_2best.pth")
    assert states["w"].tolist() == [3.5, 3.5] and states["mask_device"].tolist() == [True, False]
    assert "Epochs [1, 2] are not averaged" in caplog.text
    assert (tmp_path / "valid.loss.ave_1best.pth").readlink().name == "4epoch.pth"


def test_averaging_again_does_not_write_through_the_links(tmp_path):
    reporter = make_epochs(tmp_path, [1.0, 2.0], [[True, True]] * 2)
    average_nbest_models(tmp_path, reporter, CRITERION, 1)
    average_nbest_models(tmp_path, reporter, CRITERION, 2)
    assert load_weights(tmp_path / "1epoch.pth")["w"].tolist() == [1.0, 1.0]


def test_suffix_and_absent_criterion(tmp_path):
    reporter = make_epochs(tmp_path, [1.0, 2.0], [[True, True]] * 2)
    criteria = [*CRITERION, ("valid", "acc", "max")]
    average_nbest_models(tmp_path, reporter, criteria, 2, suffix="till2epoch")
    assert (tmp_path / "valid.loss.ave_2best.till2epoch.pth").exists()
    assert not list(tmp_path.glob("valid.acc*")) and not list(tmp_path.glob("*best.pth"))


def test_a_damaged_epoch_is_an_error(tmp_path):
    reporter = make_epochs(tmp_path, [1.0, 2.0], [[True, True]] * 2)
    (tmp_path / "2epoch.pth").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"2epoch\.pth"):
        average_nbest_models(tmp_path, reporter, CRITERION, 2)
