"""What tests of training share."""

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch


def _run_two_ranks(task, config: Path, output_dir: Path) -> None:
    """Train with two gloo processes."""
    context = _forkserver(task)
    cmd = ["--config", str(config), "--output_dir", str(output_dir)]
    cmd += ["--multiprocessing_distributed", "false", "--dist_backend", "gloo"]
    cmd += ["--dist_world_size", "2", "--dist_master_addr", "localhost"]
    cmd += ["--dist_master_port", str(_free_port()), "--dist_rank"]
    ranks = [
        context.Process(target=task.main, kwargs={"cmd": [*cmd, str(rank)]}) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(200)
    assert [process.exitcode for process in ranks] == [0, 0]


@pytest.fixture
def assert_two_ranks_agree(tmp_path):
    """A function that trains alone and with two processes: ``(task, config, statistics, rel)``.

    It compares some statistics of every epoch, by part and key, and the last weights, of which
    it returns those of one process.
    """

    def compare(task, config: Path, statistics=(), rel: float = 1e-4) -> dict:
        torch.set_num_threads(1)
        one, two = tmp_path / "one", tmp_path / "two"
        task.main(cmd=["--config", str(config), "--output_dir", str(one)])
        _run_two_ranks(task, config, two)
        curve, other = _curve(one, statistics), _curve(two, statistics)
        for left, right in zip(curve, other, strict=True):
            assert right == pytest.approx(left, rel=rel, abs=1e-5)
        last = f"{len(curve)}epoch.pth"
        a, b = (torch.load(folder / last, weights_only=True) for folder in (one, two))
        for key, value in a.items():
            if value.dtype in (torch.bool, torch.int64):
                assert torch.equal(value, b[key]), key  # masks and counters: exactly
            else:
                torch.testing.assert_close(b[key], value, rtol=1e-3, atol=1e-4, equal_nan=True)
        return a

    return compare


def _curve(folder: Path, statistics) -> list[list[float]]:
    stats = torch.load(folder / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    return [[stats[epoch][part][key] for part, key in statistics] for epoch in sorted(stats)]


def _forkserver(task):
    # Processes are forked from a clean one that has imported ESPnet once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([task.__module__])
    return context


@pytest.fixture
def train_and_kill():
    """A function that trains in another process until SIGKILL: ``(task, cmd, file, delay)``.

    The kill comes ``delay`` seconds after the file has appeared.
    """
    return _train_and_kill


def _train_and_kill(task, cmd: list[str], file: Path, delay: float) -> None:
    process = _forkserver(task).Process(target=task.main, kwargs={"cmd": cmd})
    process.start()
    deadline = time.monotonic() + 200
    while not file.exists():
        assert process.is_alive() and time.monotonic() < deadline, "it ended before it was killed"
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture
def kill_and_resume(tmp_path):
    """A function that compares a killed training of 4 epochs with another: ``(task, config)``.

    It returns the last weights.
    """

    def compare(task, config: Path) -> dict:
        torch.set_num_threads(1)
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        cmd = ["--config", str(config), "--resume", "true", "--output_dir"]
        task.main(cmd=[*cmd, str(whole)])
        _train_and_kill(task, [*cmd, str(killed)], killed / "2epoch.pth", delay=0.1)
        assert not (killed / "4epoch.pth").exists(), "it was killed before its end"
        torch.manual_seed(999)  # nothing may depend on the state this process happens to have
        task.main(cmd=[*cmd, str(killed)])
        _assert_same_models(whole, killed)
        return torch.load(killed / "4epoch.pth", weights_only=True)

    return compare


@pytest.fixture
def stop_after():
    """A function that trains in this process and breaks off: ``(epochs, cmd)``."""
    return _stop_after


def _stop_after(epochs: int, cmd: list[str]) -> None:
    class Stop(Exception):
        pass

    from espnet2_supernet.bin import asr_train
    from espnet2_supernet.train import trainer

    original = trainer.SupernetTrainer.train_one_epoch.__func__
    calls = []

    def counted(cls, *args, **kwargs):
        calls.append(1)
        if len(calls) > epochs:
            raise Stop
        return original(cls, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.SupernetTrainer, "train_one_epoch", classmethod(counted))
        with pytest.raises(Stop):
            asr_train.main(cmd)


@pytest.fixture
def assert_same_models():
    """A function that compares the models of two experiments bit by bit."""
    return _assert_same_models


def _assert_same_models(left: Path, right: Path) -> None:
    names = sorted(p.name for p in left.glob("*.pth") if p.name != "checkpoint.pth")
    assert names == sorted(p.name for p in right.glob("*.pth") if p.name != "checkpoint.pth")
    assert "valid.loss.ave.pth" in names and "latest.pth" in names
    for name in names:
        a, b = (torch.load(folder / name, weights_only=True) for folder in (left, right))
        assert a.keys() == b.keys()
        different = [key for key in a if not torch.equal(a[key], b[key])]
        assert not different, (name, different)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]
