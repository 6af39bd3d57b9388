import os
import threading

import pytest

from espnet2_supernet.runtime.training.threads import spread


@pytest.mark.parametrize("size, step, threads", [(0, 8, 2), (1, 8, 2), (100, 8, 3), (64, 64, 4)])
def test_parts_cover_the_range_once_and_start_at_steps(size, step, threads):
    parts, lock = [], threading.Lock()

    def kernel(start, stop, name):
        assert name == "argument"
        with lock:
            parts.append((start, stop))

    spread(kernel, size, step, threads, "argument")
    assert sorted(i for start, stop in parts for i in range(start, stop)) == list(range(size))
    assert all(start % step == 0 for start, _ in parts) and len(parts) <= max(1, threads)


def test_an_error_reaches_the_caller():
    def kernel(start, stop):
        raise ValueError(f"part {start}")

    for threads in (1, 2):
        with pytest.raises(ValueError, match="part 0"):
            spread(kernel, 10, 1, threads)


def test_threads_are_started_again_after_a_fork():
    spread(lambda start, stop: None, 4, 1, 2)
    child = os.fork()
    if child == 0:
        spread(lambda start, stop: None, 4, 1, 2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
