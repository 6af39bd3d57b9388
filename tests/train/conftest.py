"""What tests of training share."""

import multiprocessing
import socket
from pathlib import Path

import pytest


@pytest.fixture
def run_two_ranks():
    """A function that trains with two gloo processes: ``(task, config, output_dir)``."""
    return _run_two_ranks


def _run_two_ranks(task, config: Path, output_dir: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([task.__module__])
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


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]
