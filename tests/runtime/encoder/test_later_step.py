"""The chunk step that drops frames before a later block against the pass of the encoder."""

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
    for before_block in (2, 3):
        options = {"before_block": before_block, "compacted": compacted}
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
    wanted = streamed(encoder, x, keep, description, False, 2)
    step = LaterKeptStep(description, arrays(encoder), before_block=2)
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


def test_what_a_step_cannot_take_is_refused():
    encoder, description = build("transformer", 32, 2, 64, 8, 16, 2)
    for block in (1, description["num_blocks"] + 1):
        with pytest.raises(ValueError, match="before_block: wanted 2 to"):
            LaterKeptStep(description, arrays(encoder), before_block=block)
    step = LaterKeptStep(description, arrays(encoder), before_block=2)
    state, x = step.init_state(), np.zeros((10, 32), np.float32)
    for count in (0, 9):
        with pytest.raises(ValueError, match="decisions about"):
            step.step_kept(x[: 10 * (count > 0)], np.ones(count, bool), state)
    assert state.below.past == state.past == 0, "nothing was encoded"
    step.step_kept(x[:3], np.ones(3, bool), state)
    with pytest.raises(ValueError, match="the stream is over"):
        step.step_kept(x, np.ones(10, bool), state)
