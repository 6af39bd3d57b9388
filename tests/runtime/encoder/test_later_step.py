"""Chunk steps of which some blocks see kept frames only, against the pass of the encoder."""

import numpy as np
import pytest

from espnet2_supernet.runtime.encoder.later_step import LaterKeptStep
from kept_steps import decisions, stepped, streamed
from random_encoders import (
    CUT,
    UNLIKE,
    UNLIKE_CONFORMER,
    arrays,
    build,
    int8_matrices,
    unlike,
)

CASES = [
    ("conformer", 32, 2, 64, 16, 32, 0, 7, 100),
    ("conformer", 36, 3, 50, 4, 10, 3, 15, 42),
    ("conformer", 20, 1, 24, 40, 30, 7, 37, 130),
    ("transformer", 64, 2, 128, 8, 16, 4, 1, 50),
    ("transformer", 24, 4, 37, 3, 7, 20, 1, 40),
]


@pytest.mark.parametrize("compacted", [False, True], ids=["original", "compacted"])
@pytest.mark.parametrize("kind, size, heads, units, chunk, left, right, kernel, frames", CASES)
def test_chunk_steps_equal_the_stream(
    kind, size, heads, units, chunk, left, right, kernel, frames, compacted
):
    encoder, description = build(kind, size, heads, units, chunk, left, right, kernel, blocks=3)
    x = np.random.default_rng(1).standard_normal((frames, size)).astype(np.float32)
    cases = ((2, None), (3, None), (1, 2), (1, 3), (2, 3), (1, 3, True), (2, 3, True))
    for before_block, restored, *with_change in cases:
        options = {"before_block": before_block, "restore_before_block": restored}
        options |= {"compacted": compacted, "with_change": bool(with_change)}
        step = LaterKeptStep(description, arrays(encoder), **options)
        for keep in (*decisions(frames), np.zeros(frames, bool)):
            wanted = streamed(encoder, x, keep, description, **options)
            np.testing.assert_allclose(stepped(step, x, keep), wanted, atol=1e-4)


@pytest.mark.parametrize(
    "kind, sizes", [("conformer", UNLIKE_CONFORMER), ("transformer", UNLIKE), ("transformer", CUT)]
)
def test_blocks_may_differ_in_size(kind, sizes):
    encoder, description = unlike(kind, sizes)
    x, keep = np.random.default_rng(1).standard_normal((45, 20)), decisions(45)[0]
    x = x.astype(np.float32)
    for where in ({"before_block": 2}, {"before_block": 1, "restore_before_block": 2}):
        wanted = streamed(encoder, x, keep, description, False, **where)
        step = LaterKeptStep(description, arrays(encoder), **where)
        np.testing.assert_allclose(stepped(step, x, keep), wanted, atol=1e-4)


def test_int8_and_threads():
    encoder, description = build("conformer", 48, 4, 100, 20, 16, 2)
    x, keep = np.random.default_rng(1).standard_normal((90, 48)), decisions(90)[0]
    x, weights = x.astype(np.float32), int8_matrices(encoder, description, (8, 4))
    found, same = (
        stepped(LaterKeptStep(description, weights, before_block=2, num_threads=n), x, keep)
        for n in (1, 3)
    )
    assert np.array_equal(found, same)
    wanted = streamed(encoder, x, keep, description, False, 2)
    assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)


def test_a_chunk_that_keeps_none_of_its_own_still_sees_its_right_context():
    """The copies of what follows are then the only frames of the blocks between."""
    encoder, description = build("conformer", 20, 1, 24, 4, 8, 3, 7, blocks=3)
    x = np.random.default_rng(1).standard_normal((12, 20)).astype(np.float32)
    keep = np.isin(np.arange(12), [0, 9])
    where = {"before_block": 1, "restore_before_block": 2}
    wanted = streamed(encoder, x, keep, description, False, **where)
    step = LaterKeptStep(description, arrays(encoder), **where)
    np.testing.assert_allclose(stepped(step, x, keep), wanted, atol=1e-4)
    nothing = streamed(encoder, x, keep & (np.arange(12) < 9), description, False, **where)
    assert np.abs(wanted[4:8] - nothing[4:8]).max() > 1e-3


def test_what_a_step_cannot_take_is_refused():
    encoder, description = build("transformer", 32, 2, 64, 8, 16, 2)
    last = description["num_blocks"]
    for block in (1, last + 1):
        with pytest.raises(ValueError, match="before_block: wanted 2 to"):
            LaterKeptStep(description, arrays(encoder), before_block=block)
    for where in ((1, 1), (1, last + 1), (2, 2)):
        options = dict(zip(("before_block", "restore_before_block"), where, strict=True))
        with pytest.raises(ValueError, match=f"restore_before_block: wanted {where[0] + 1} to"):
            LaterKeptStep(description, arrays(encoder), **options)
    step = LaterKeptStep(description, arrays(encoder), before_block=2)
    state, x = step.init_state(), np.zeros((10, 32), np.float32)
    for count in (0, 9):
        with pytest.raises(ValueError, match="decisions about"):
            step.step_kept(x[: 10 * (count > 0)], np.ones(count, bool), state)
    assert state.below.past == state.past == 0, "nothing was encoded"
    step.step_kept(x[:3], np.ones(3, bool), state)
    with pytest.raises(ValueError, match="the stream is over"):
        step.step_kept(x, np.ones(10, bool), state)
