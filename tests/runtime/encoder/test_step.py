"""The chunk step without torch against the stateful pass of the encoder it was taken from."""

import numpy as np
import pytest
import torch

from espnet2_supernet.encoder.streaming import _stream_chunks
from espnet2_supernet.runtime.encoder.step import EncoderStep
from espnet2_supernet.supernet.context import Context
from random_encoders import (
    CUT,
    ENCODERS,
    UNLIKE,
    UNLIKE_CONFORMER,
    arrays,
    build,
    int8_matrices,
    unlike,
)


@torch.no_grad()
def streamed(encoder, frames, description):
    """What ``SupernetEncoder.stream`` makes of subsampled frames."""
    context = Context(
        description["chunk_size"], description["left_context"], description["right_context"]
    )
    state = encoder.init_state(context)
    state.frames = torch.from_numpy(frames)[None]
    return _stream_chunks(encoder, state, True)[0][0].numpy()


def stepped(step, frames):
    """The same frames, chunk by chunk."""
    state, out, chunk = step.init_state(), [], step.description.chunk_size
    for start in range(0, len(frames), chunk):
        part = frames[start : start + step.span]
        out.append(step.step(part, len(part), state)[: len(part)])
    return np.concatenate(out)[: len(frames)]


@pytest.mark.parametrize(
    "kind, size, heads, units, chunk, left, right, kernel, frames",
    [
        ("conformer", 32, 2, 64, 16, 32, 0, 7, 100),
        ("conformer", 36, 3, 50, 4, 10, 3, 15, 42),
        ("conformer", 48, 4, 40, 5, 0, 0, 3, 23),
        ("conformer", 16, 2, 32, 16, 64, 4, 31, 61),
        ("conformer", 20, 1, 24, 40, 30, 7, 5, 130),
        ("transformer", 64, 2, 128, 8, 16, 4, 1, 50),
        ("transformer", 24, 4, 37, 3, 7, 20, 1, 40),
        ("transformer", 16, 1, 16, 1, 5, 1, 1, 12),
    ],
)
def test_chunk_steps_equal_the_stream(kind, size, heads, units, chunk, left, right, kernel, frames):
    encoder, description = build(kind, size, heads, units, chunk, left, right, kernel)
    x = np.random.default_rng(1).standard_normal((frames, size)).astype(np.float32)
    wanted = streamed(encoder, x, description)
    step = EncoderStep(description, arrays(encoder))
    np.testing.assert_allclose(stepped(step, x), wanted, atol=1e-4)
    np.testing.assert_allclose(stepped(step, x), wanted, atol=1e-4)  # a second stream


@pytest.mark.parametrize(
    "kind, sizes", [("conformer", UNLIKE_CONFORMER), ("transformer", UNLIKE), ("transformer", CUT)]
)
def test_blocks_may_differ_in_size(kind, sizes):
    encoder, description = unlike(kind, sizes)
    x = np.random.default_rng(1).standard_normal((45, 20)).astype(np.float32)
    wanted = streamed(encoder, x, description)
    np.testing.assert_allclose(
        stepped(EncoderStep(description, arrays(encoder)), x), wanted, atol=1e-4
    )
    step = EncoderStep(description, int8_matrices(encoder, description, (8, 4)), num_threads=2)
    got, wanted = stepped(step, x), streamed(encoder, x, description)
    assert np.linalg.norm(got - wanted) < 0.03 * np.linalg.norm(wanted)
    assert np.array_equal(stepped(step, x), got), "what other blocks left behind does not count"


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("block", [(8, 4), (16, 4)])
def test_int8_steps_are_near_the_stream(kind, block):
    encoder, description = build(kind, 48, 4, 100, 8, 16, 2)
    x = np.random.default_rng(1).standard_normal((45, 48)).astype(np.float32)
    weights = int8_matrices(encoder, description, block)
    got, wanted = stepped(EncoderStep(description, weights), x), streamed(encoder, x, description)
    # The rounding of activations to bytes remains; measured 1 %.
    assert np.linalg.norm(got - wanted) < 0.03 * np.linalg.norm(wanted)


def test_a_day_into_a_stream_positions_are_as_exact():
    encoder, description = build("transformer", 32, 2, 64, 8, 16, 2)
    past = 8 * 270_000  # a day of frames of 40 ms
    x = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    state = encoder.init_state(Context(8, 16, 2))
    state.frames, state.num_past = torch.from_numpy(x)[None], past
    wanted = _stream_chunks(encoder, state, True)[0][0].detach().numpy()
    step = EncoderStep(description, arrays(encoder))
    memory = step.init_state()
    memory.past = past
    got = [step.step(x[i : i + 10], len(x[i : i + 10]), memory) for i in range(0, 40, 8)]
    np.testing.assert_allclose(np.concatenate(got), wanted, atol=1e-4)


def test_streams_do_not_disturb_each_other():
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    step = EncoderStep(description, arrays(encoder))
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((40, 32)).astype(np.float32) for _ in range(2))
    wanted = [stepped(step, one) for one in (first, second)]
    states, got = [step.init_state(), step.init_state()], [[], []]
    for start in range(0, 40, 8):
        for one, state, out in zip((first, second), states, got, strict=True):
            part = one[start : start + 10]
            out.append(step.step(part, len(part), state))
    for one, other in zip(wanted, got, strict=True):
        assert np.array_equal(one, np.concatenate(other))


def test_padding_of_the_last_chunk_is_not_read():
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    step = EncoderStep(description, arrays(encoder))
    x = np.random.default_rng(0).standard_normal((10, 32)).astype(np.float32)
    wanted = step.step(x[:5], 5, step.init_state())
    x[5:] = np.nan
    got = step.step(x, 5, step.init_state())
    assert np.array_equal(got, wanted) and got.shape == (8, 32) and not got[5:].any()


def test_what_a_step_cannot_take_is_refused():
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    step = EncoderStep(description, arrays(encoder))
    state, x = step.init_state(), np.zeros((10, 32), np.float32)
    for frames, count in ((x[:, :31], 10), (np.zeros((11, 32)), 11), (x[0], 1)):
        with pytest.raises(ValueError, match="wanted at most 10 x 32 frames"):
            step.step(frames, count, state)
    for count in (0, 11):
        with pytest.raises(ValueError, match=f"{count} frames of 10"):
            step.step(x, count, state)
    step.step(x, 3, state)
    with pytest.raises(ValueError, match="the stream is over"):
        step.step(x, 10, state)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "lstm"}, "kind: unknown 'lstm'"),
        ({"chunk_size": 0}, "chunk_size: wanted a whole number of at least 1"),
        ({"left_context": -1}, "left_context"),
        ({"heads": 3}, "no multiple of heads 3"),
        ({"heads": 32}, "wanted an even size"),
        ({"heads": [2, 2]}, "a list needs head_size"),
        ({"linear_units": [8, 8, 8]}, "linear_units: 3 sizes for 2 blocks"),
        ({"channels": [8, 1]}, "channels: wanted a whole number of at least 2, got 1"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"key_size": 3}, "key_size: wanted even sizes up to 16, got 3"),
        ({"key_size": [16, 18]}, "key_size: wanted even sizes up to 16"),
        ({"value_size": 0}, "value_size: wanted a whole number of at least 1"),
        ({"layers": 3}, r"unknown keys \['layers'\]"),
        ({"linear_units": 65}, "feed_forward_macaron.linear_in.weight: wanted shape"),
        ({"num_blocks": 3}, "'blocks.2.norm_macaron.weight' is missing"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(changes, message):
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    with pytest.raises(ValueError, match=message):
        EncoderStep({**description, **changes}, arrays(encoder))


def test_some_matrices_may_be_int8():
    encoder, description = build("transformer", 48, 4, 100, 8, 16, 2)
    weights = arrays(encoder)
    changed = int8_matrices(encoder, description, (8, 4))
    weights |= {name: changed[name] for name in list(changed) if "feed_forward" in name}
    x = np.random.default_rng(1).standard_normal((45, 48)).astype(np.float32)
    got, wanted = stepped(EncoderStep(description, weights), x), streamed(encoder, x, description)
    assert np.linalg.norm(got - wanted) < 0.03 * np.linalg.norm(wanted)


@pytest.mark.parametrize("kind", ENCODERS)
def test_threads_change_nothing(kind):
    encoder, description = build(kind, 36, 3, 50, 20, 16, 2)
    x = np.random.default_rng(1).standard_normal((45, 36)).astype(np.float32)
    for weights in (arrays(encoder), int8_matrices(encoder, description, (16, 4))):
        wanted = stepped(EncoderStep(description, weights), x)
        for threads in (2, 3):
            step = EncoderStep(description, weights, num_threads=threads)
            assert np.array_equal(stepped(step, x), wanted)


def test_no_threads_are_refused():
    encoder, description = build("conformer", 32, 2, 64, 8, 16, 2)
    with pytest.raises(ValueError, match="num_threads must be at least 1"):
        EncoderStep(description, arrays(encoder), num_threads=0)
