"""The chunk step over kept frames against the stateful pass of the encoder it was taken from."""

import numpy as np
import pytest

from espnet2_supernet.runtime.encoder.kept_step import KeptEncoderStep
from espnet2_supernet.runtime.encoder.step import EncoderStep
from kept_steps import decisions, stepped, streamed
from random_encoders import arrays, build, int8_matrices

POSITIONS = pytest.mark.parametrize("compacted", [False, True], ids=["original", "compacted"])


CASES = [
    ("conformer", 32, 2, 64, 16, 32, 0, 7, 100),
    ("conformer", 36, 3, 50, 4, 10, 3, 15, 42),
    ("conformer", 48, 4, 40, 5, 0, 0, 3, 23),
    ("conformer", 20, 1, 24, 40, 30, 7, 37, 130),
    ("conformer", 32, 2, 48, 32, 40, 5, 9, 150),
    ("transformer", 64, 2, 128, 8, 16, 4, 1, 50),
    ("transformer", 24, 4, 37, 3, 7, 20, 1, 40),
    ("transformer", 16, 1, 16, 1, 5, 1, 1, 12),
]


@POSITIONS
@pytest.mark.parametrize("kind, size, heads, units, chunk, left, right, kernel, frames", CASES)
def test_chunk_steps_equal_the_stream(
    kind, size, heads, units, chunk, left, right, kernel, frames, compacted
):
    encoder, description = build(kind, size, heads, units, chunk, left, right, kernel)
    x = np.random.default_rng(1).standard_normal((frames, size)).astype(np.float32)
    step = KeptEncoderStep(description, arrays(encoder), compacted=compacted)
    for keep in decisions(frames):
        wanted = streamed(encoder, x, keep, description, compacted)
        np.testing.assert_allclose(stepped(step, x, keep), wanted, atol=1e-4)
    nothing = np.zeros(frames, bool)
    assert stepped(step, x, nothing).shape == (0, size)


@POSITIONS
def test_to_keep_all_changes_no_bit(compacted):
    encoder, description = build("conformer", 36, 3, 50, 20, 30, 7)
    x = np.random.default_rng(1).standard_normal((67, 36)).astype(np.float32)
    plain, wanted = EncoderStep(description, arrays(encoder)), []
    state = plain.init_state()
    for start in range(0, 67, 20):
        part = x[start : start + plain.span]
        wanted.append(plain.step(part, len(part), state)[: len(part)])
    kept = KeptEncoderStep(description, arrays(encoder), compacted=compacted)
    found = stepped(kept, x, np.ones(67, bool))
    assert np.array_equal(found, np.concatenate(wanted)[:67])


def test_work_falls_with_the_frames_that_are_kept(monkeypatch):
    encoder, description = build("conformer", 32, 2, 64, 40, 40, 8)
    step, panels = KeptEncoderStep(description, arrays(encoder), num_threads=2), []
    encode = step._encode
    monkeypatch.setattr(
        step, "_encode", lambda *args: panels.append(args[3].panels) or encode(*args)
    )
    x, keep = np.ones((48, 32), np.float32), np.zeros(48, bool)
    for kept, expected in ((0, []), (1, [1]), (16, [1]), (17, [2]), (32, [2]), (40, [3])):
        keep[:kept], panels[:] = True, []
        step.step_kept(x, keep, step.init_state())
        assert panels == expected
    keep[:40], keep[40:], panels[:] = False, True, []
    step.step_kept(x, keep, step.init_state())
    assert panels == [], "copies of the right context alone are for nobody"


@POSITIONS
def test_int8_and_threads(compacted):
    encoder, description = build("conformer", 48, 4, 100, 20, 16, 2)
    x = np.random.default_rng(1).standard_normal((90, 48)).astype(np.float32)
    weights, keep = int8_matrices(encoder, description, (8, 4)), decisions(90)[0]
    found, same = (
        stepped(KeptEncoderStep(description, weights, compacted=compacted, num_threads=n), x, keep)
        for n in (1, 3)
    )
    assert np.array_equal(found, same)
    wanted = streamed(encoder, x, keep, description, compacted)
    # The rounding of activations to bytes remains, as with all frames.
    assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)


def test_the_state_does_not_grow():
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    step, rng = KeptEncoderStep(description, arrays(encoder)), np.random.default_rng(0)
    state = step.init_state()
    sizes = [(a.shape, a.dtype) for a in (*state.memory, state.times)]
    for _ in range(20):
        step.step_kept(np.ones((10, 32), np.float32), rng.random(10) < 0.5, state)
    assert [(a.shape, a.dtype) for a in (*state.memory, state.times)] == sizes


def test_what_a_step_cannot_take_is_refused():
    encoder, description = build("transformer", 32, 2, 64, 8, 16, 2)
    step = KeptEncoderStep(description, arrays(encoder))
    state, x, keep = step.init_state(), np.zeros((10, 32), np.float32), np.ones(11, bool)
    with pytest.raises(ValueError, match="wanted at most 10 x 32 frames"):
        step.step_kept(np.zeros((11, 32)), keep, state)
    for count in (0, 9):
        with pytest.raises(ValueError, match="decisions about"):
            step.step_kept(x[: 10 * (count > 0)], keep[:count], state)
    step.step_kept(x[:3], ~keep[:3], state)
    with pytest.raises(ValueError, match="the stream is over"):
        step.step_kept(x, keep[:10], state)
