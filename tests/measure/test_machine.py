"""The machine as Linux shows it."""

import os
import subprocess
import sys
import time

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.measure.machine import (
    ForeignLoad,
    cpu_name,
    peak_memory_bytes,
    pinned,
    quiet_core,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_processor_has_a_name():
    assert cpu_name()


@linux
def test_pinning_ends_with_the_block():
    before = os.sched_getaffinity(0)
    core = quiet_core(0.01)
    assert core in before
    with pinned(core):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ConfigError, match="core 9999: this process may use"), pinned(9999):
        pass
    with pinned(None):
        assert os.sched_getaffinity(0) == before


@linux
def test_own_work_is_not_foreign_load():
    load = ForeignLoad(min(os.sched_getaffinity(0)))
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    load.note()
    assert all(0 <= share <= 1 for share in load.shares)


@linux
def test_peak_memory_is_that_of_this_process():
    before = peak_memory_bytes()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory_bytes() >= max(before, 64 << 20)


def test_libraries_have_one_thread_meanwhile():
    code = (
        "import numpy, threadpoolctl\n"
        "from espnet2_supernet.measure.machine import single_threaded_libraries\n"
        "def threads():\n"
        "    return [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]\n"
        "before = threads()\n"
        "with single_threaded_libraries():\n"
        "    print(*threads())\n"
        "assert threads() == before and before\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert set(done.stdout.split()) == {"1"}, done.stderr
