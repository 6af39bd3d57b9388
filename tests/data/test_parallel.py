import os

import pytest

from espnet2_supernet.data.parallel import parallel_map
from espnet2_supernet.errors import DataError


@pytest.mark.parametrize("nj", [1, 2])
def test_order_is_kept(nj):
    assert list(parallel_map(abs, [-3, 2, -1], nj, "test")) == [3, 2, 1]


def test_nothing_to_do():
    assert list(parallel_map(abs, [], 2, "test")) == []


def test_progress_off_a_terminal_is_one_line(capfd):
    list(parallel_map(abs, [1, 2], 1, "format dev"))
    assert capfd.readouterr().err == "format dev: 2 utt\n"


def test_a_killed_worker_is_told():
    with pytest.raises(DataError, match="a worker process was killed.*smaller --nj"):
        list(parallel_map(os._exit, [1, 2], 2, "kill"))
