"""Emission delay on cases whose answer is known."""

import numpy as np
import pytest

from espnet2_supernet.measure.alignment import spans
from espnet2_supernet.measure.clock import StageClock
from espnet2_supernet.measure.emission import (
    AlignedToken,
    Delays,
    emission_delays,
    shown_at,
    summarise,
)
from espnet2_supernet.measure.interleave import recognise


def test_a_token_counts_from_when_it_no_longer_changed():
    heard = [(1.0, [5]), (2.0, [5, 7, 8]), (3.0, [5, 7]), (4.0, [5, 7, 8]), (5.0, [5, 7, 8])]
    assert shown_at(heard) == [1.0, 2.0, 4.0]
    assert shown_at([(1.0, [5, 6]), (2.0, [])]) == []
    assert shown_at([(1.0, [5, 6]), (2.0, [9, 6])]) == [2.0, 2.0]


def test_only_correct_tokens_have_a_delay():
    spoken = [AlignedToken(token, 0.0, end) for token, end in ((1, 0.2), (2, 0.5), (3, 0.8))]
    found = emission_delays(spoken, [1, 9, 3, 4], [0.655, 0.655, 1.295, 1.295], [5, 9, 20, 21], 40)
    assert found.shown == pytest.approx([455, 495])
    assert found.emitted == pytest.approx([6 * 40 - 200, 21 * 40 - 800])


def test_delay_of_a_constructed_stream(fake):
    # A token at the last frame of each of three chunks; it ends 40 ms before that frame does.
    row = fake()
    record = recognise(row, np.zeros(2 * 16000, np.float32), StageClock())
    assert record.tokens == [1, 2, 3]
    spoken = [AlignedToken(i + 1, 0.0, 0.64 * (i + 1) - 0.04) for i in range(3)]
    info = row.info
    delays = emission_delays(
        spoken, record.tokens, shown_at(record.snapshots), record.frames, info.frame_ms
    )
    assert delays.shown == pytest.approx([40 + 15] * 3), "the rest of the chunk and the window"
    assert delays.emitted == pytest.approx([40] * 3)
    result = summarise([delays, Delays([], [])])
    assert result["all"] == result["first"] == result["last"] == {"median": 55.0, "p90": 55.0}
    assert (result["tokens"], result["utterances"]) == (3, 1)


def test_nothing_correct_is_no_delay():
    assert summarise([]) is None
    assert summarise([emission_delays([AlignedToken(1, 0, 1)], [2], [1.0], [3], 40.0)]) is None


def test_spans_of_a_path():
    path = [0, 0, 3, 3, 0, 3, 4, 4]
    found = [(one.token, one.start, one.end) for one in spans(path, 0, 40.0)]
    assert found == [(3, 0.08, 0.16), (3, 0.2, 0.24), (4, 0.24, 0.32)]
    assert spans([], 0, 40.0) == spans([0], 0, 40.0) == []
