"""The order of the run, and how audio is cut for it."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from espnet2_supernet.measure.clock import StageClock
from espnet2_supernet.measure.interleave import recognise, run_interleaved, turn


def test_rows_take_turns_and_each_begins_once(fake):
    calls = []
    rows = [fake(name, calls) for name in "abc"]
    passes = []
    records = run_interleaved(
        rows, {key: np.zeros(16000, np.float32) for key in "xyz"}, 2, passes.append
    )
    warm_up, run = calls[:3], calls[3:]
    assert "".join(warm_up) == "abc"
    assert "".join(run) == "abc" + "bca" + "cab" + "cba" + "acb" + "bac"
    assert passes == [1, 2]
    assert [[len(one) for one in passes] for passes in records] == [[3, 3]] * 3


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 24])
def test_every_row_follows_every_other_equally_often(rows):
    """Found where one row always ran after the runtime: 12 % slower than its equal."""
    turns = [turn(rows, number) for number in range(rows * (1 + rows % 2))]
    times = 1 + rows % 2
    after, places = Counter(), Counter()
    for order in turns:
        assert sorted(order) == list(range(rows))
        after.update(pairwise(order))
        places.update(enumerate(order))
    assert len(after) == rows * (rows - 1) and set(after.values()) <= {times}
    assert len(places) == rows**2 and set(places.values()) == {times}


@pytest.mark.parametrize(
    ("context", "first", "further"),
    [((16, 0), 10480, 10240), ((4, 2), 4080, 2560), ((None, 0), 16000, 16000)],
)
def test_a_piece_completes_one_chunk(fake, context, first, further):
    row = fake(chunk_size=context[0], right_context=context[1])
    seconds = 3.0
    record = recognise(row, np.zeros(int(16000 * seconds), np.float32), StageClock())
    assert row.lengths[0] == first
    assert set(row.lengths[1:-1]) <= {further}
    assert sum(row.lengths) == 48000
    assert [heard for heard, _ in record.snapshots] == [
        *((first + further * i) / 16000 for i in range(len(record.chunks))), seconds
    ]  # fmt: skip
    assert len(record.tokens) == len(record.frames)


@pytest.mark.parametrize("samples", [0, 1, 10479, 10480])
def test_short_audio(fake, samples):
    row = fake()
    record = recognise(row, np.zeros(samples, np.float32), StageClock())
    assert len(record.chunks) == (samples == 10480)
    assert record.tokens == [1] * (samples == 10480)
    assert record.total().wall >= 0
