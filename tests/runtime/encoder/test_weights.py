"""Products of block matrices with the frames of a chunk against dense numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.encoder.weights import multiply_frames

FAST = [(16, 1), (8, 1), (8, 4), (16, 4)]


def case(rows, columns, block, density, frames, seed):
    rng = np.random.default_rng(seed)
    keep = rng.random((-(-rows // block[0]), -(-columns // block[1]))) < density
    mask = keep.repeat(block[0], 0).repeat(block[1], 1)[:rows, :columns]
    weight = (rng.standard_normal((rows, columns)) * mask).astype(np.float32)
    x = rng.standard_normal((frames, columns)).astype(np.float32)
    return BlockMatrix.from_dense(weight, block), x, rng.standard_normal(rows).astype(np.float32)


def rounded(x):
    """What frames are as bytes with one scale each."""
    scale = np.abs(x).max(1, keepdims=True) / np.float32(127)
    return np.rint(x / np.where(scale > 0, scale, 1)) * scale


@settings(deadline=None, max_examples=150)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    block=st.sampled_from(FAST) | st.tuples(st.integers(1, 33), st.integers(1, 9)),
    density=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    frames=st.integers(1, 64),
    seed=st.integers(0, 9),
)
def test_products_equal_dense_ones(rows, columns, block, density, frames, seed):
    matrix, x, bias = case(rows, columns, block, density, frames, seed)
    wanted = x.astype(np.float64) @ matrix.to_dense().T.astype(np.float64) + bias
    np.testing.assert_allclose(multiply_frames(matrix, x, bias), wanted, atol=1e-4)
    small = matrix.quantize()
    wanted = rounded(x).astype(np.float64) @ small.to_dense().T.astype(np.float64) + bias
    # A number half way between two bytes may be rounded either way.
    step = np.abs(x).max() / 127 * np.abs(small.to_dense()).max() * 1.01 + 1e-4
    assert np.abs(multiply_frames(small, x, bias) - wanted).max() <= step


@pytest.mark.parametrize("block", FAST)
def test_empty_strips_give_the_bias(block):
    matrix, x, bias = case(48, 20, block, 0.0, 5, 0)
    for one in (matrix, matrix.quantize()):
        assert np.array_equal(multiply_frames(one, x, bias), np.tile(bias, (5, 1)))


def test_silent_and_bad_frames():
    matrix, x, bias = case(16, 16, (16, 4), 1.0, 4, 0)
    x[1], x[2, 3] = 0.0, np.nan
    for one in (matrix, matrix.quantize()):
        out = multiply_frames(one, x, bias)
        assert np.array_equal(out[1], bias) and np.isnan(out[2]).all()
        assert np.isfinite(out[[0, 3]]).all()


def test_what_does_not_fit_is_refused():
    matrix, x, bias = case(16, 16, (16, 1), 1.0, 4, 0)
    with pytest.raises(ValueError, match="frames of 16 numbers"):
        multiply_frames(matrix, x[:, :8], bias)
    with pytest.raises(ValueError, match="wanted 16 numbers"):
        multiply_frames(matrix, x, bias[:8])
