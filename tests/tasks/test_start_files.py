"""What a training began from is noted, and the same when it goes on."""

from argparse import Namespace

import pytest

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle import file_digest
from espnet2_supernet.tasks.start_files import check_same_start, note_start


@pytest.fixture
def weights(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.pth").write_text(name)
    return tmp_path


def options(folder, **changes):
    start = {
        "init_param": [f"{folder}/a.pth:encoder:encoder", f"{folder}/b.pth"],
        "init_model_file": f"{folder}/a.pth", "init_blocks": "last", "seed": 1,
    }  # fmt: skip
    return Namespace(**(start | changes))


def begun(folder):
    args = options(folder)
    note_start(args)
    return vars(args)


def test_every_file_is_noted(weights):
    a, b = (file_digest(weights / f"{name}.pth") for name in "ab")
    assert begun(weights)["start_sha256"] == {"init_param": [a, b], "init_model_file": [a]}
    nothing = options(weights, init_param=[], init_model_file=None)
    note_start(nothing)
    assert nothing.start_sha256 == {}


def test_a_noted_file_must_be_there_and_the_same(weights):
    again = options(weights, start_sha256=begun(weights)["start_sha256"])
    note_start(again)
    (weights / "b.pth").write_text("c")
    with pytest.raises(CheckpointError, match=r"init_param: .*b\.pth.*leave start_sha256 out"):
        note_start(again)
    (weights / "b.pth").unlink()
    with pytest.raises(CheckpointError, match=r"init_param: .*b\.pth: no such file"):
        note_start(options(weights))


def test_the_same_start_goes_on_and_is_noted_again(weights):
    old, args = begun(weights), options(weights)
    check_same_start(old, args, "exp")
    assert args.start_sha256 == old["start_sha256"]
    moved = options(weights / "gone")
    check_same_start(old, moved, "exp")
    assert moved.start_sha256 == old["start_sha256"], "what is gone is in the checkpoint"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"init_blocks": "spread"}, "init_blocks last, not spread"),
        ({"seed": 2}, "seed 1, not 2"),
        ({"init_model_file": None}, r"init_model_file .*a\.pth, not None"),
        ({"init_param": []}, r"init_param .*, not \[\]"),
    ],
)
def test_another_start_is_refused(weights, changes, named):
    with pytest.raises(CheckpointError, match=rf"exp: the training there began with {named}"):
        check_same_start(begun(weights), options(weights, **changes), "exp")


def test_a_file_that_changed_is_refused(weights):
    old = begun(weights)
    (weights / "a.pth").write_text("another")
    with pytest.raises(CheckpointError, match=r"init_param: .*a\.pth is not the file that the"):
        check_same_start(old, options(weights), "exp")


def test_a_training_that_noted_nothing_goes_on(weights):
    old = begun(weights)
    del old["start_sha256"]
    check_same_start(old, options(weights, init_blocks="spread"), "exp")
