"""A tiny corpus, trained tiny models and random ones in memory, which many tests share."""

from __future__ import annotations

import functools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for the processes that tests start

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_data import TinyCorpus, write_corpus
from tiny_models import make_model, make_speech


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> TinyCorpus:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def _train(command: Any, write_config: Callable[[Path], Path], out: Path) -> Path:
    """Train in this process; return the folder of the finished training."""
    import torch

    torch.set_num_threads(1)
    config = write_config(out.parent / "train.yaml")
    command.main(["--config", str(config), "--output_dir", str(out)])
    return out


@pytest.fixture(scope="session")
def trained(tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a finished training of 4 epochs of 4 updates."""
    from espnet2_supernet.bin import asr_train

    return _train(asr_train, tiny_corpus.write_config, tmp_path_factory.mktemp("trained") / "exp")


@pytest.fixture(scope="session")
def pretrained(tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a finished pre-training of 4 epochs of 4 updates."""
    from espnet2_supernet.bin import ssl_train

    out = tmp_path_factory.mktemp("pretrained") / "exp"
    return _train(ssl_train, tiny_corpus.write_ssl_config, out)


@pytest.fixture(scope="session")
def student(tiny_corpus, trained, tmp_path_factory) -> Path:
    """The folder of a student of one block that has copied :func:`trained` for 4 epochs."""
    from espnet2_supernet.bin import encrl_train

    write_config = functools.partial(tiny_corpus.write_encrl_config, teacher=trained)
    return _train(encrl_train, write_config, tmp_path_factory.mktemp("student") / "exp")


@pytest.fixture(scope="session")
def tiny_model():
    """Return :func:`make_model`, remembering what it built."""
    return functools.cache(make_model)


@pytest.fixture(scope="session")
def speech():
    """Return :func:`make_speech`."""
    return make_speech


@pytest.fixture
def one_thread():
    """Let PyTorch compute with one thread for one test."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
