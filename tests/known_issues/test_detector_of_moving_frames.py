"""Nothing told when the subsampling trained under a detector, which then reads unknown frames."""

import logging
from types import SimpleNamespace

import pytest
from espnet2.train.trainer import Trainer

from espnet2_supernet.damon.rules import warn_of_moving_frames
from espnet2_supernet.train.trainer import SupernetTrainer
from tiny_models import make_model


def start(model, folder, rank=0):
    """Start a training that makes no step."""
    SupernetTrainer.run(
        model, [], [], SimpleNamespace(build_iter=lambda epoch: [0] * 100), None, None,
        SimpleNamespace(output_dir=folder, max_epoch=1, accum_grad=1),
        SimpleNamespace(distributed=True, dist_rank=rank, ngpu=0),
    )  # fmt: skip


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_tells_once_what_to_freeze(tmp_path, caplog, monkeypatch, rank):
    monkeypatch.setattr(Trainer, "run", classmethod(lambda cls, **options: None))
    start(make_model(tokens="salad"), tmp_path, rank)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    told = [one for one in told if "freeze_param: [encoder.subsampling]" in one]
    assert len(told) == (rank == 0) and all("subnet 'device'" in one for one in told)


@pytest.mark.parametrize("tokens", ["salad", "downsample", None])
def test_what_is_frozen_or_has_no_detector_is_no_reason(tokens, caplog):
    model = make_model(tokens=tokens)
    model.encoder.subsampling.requires_grad_(tokens != "salad")
    warn_of_moving_frames(model)
    warn_of_moving_frames(SimpleNamespace())
    assert not caplog.records
