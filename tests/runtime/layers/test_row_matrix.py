"""Products outside the blocks against plain numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.runtime.layers.row_matrix import RowMatrix

SIZES = st.integers(1, 40)


@given(st.integers(0, 40), SIZES, SIZES, st.floats(0, 1), st.booleans(), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_products_equal_those_of_numpy(rows, ins, outs, density, biased, seed):
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((outs, ins)) * (rng.random((outs, ins)) < density)
    bias = rng.standard_normal(outs) if biased else None
    x = rng.standard_normal((rows, ins)).astype(np.float32)
    found = RowMatrix(weight.astype(np.float32), bias)(x)
    assert found.dtype == np.float32 and found.shape == (rows, outs)
    wanted = x @ weight.T + (0 if bias is None else bias)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_row_does_not_depend_on_those_beside_it():
    rng = np.random.default_rng(0)
    matrix = RowMatrix(rng.standard_normal((50, 70)).astype(np.float32))
    x = rng.standard_normal((37, 70)).astype(np.float32)
    whole = matrix(x)
    for size in (1, 3, 16):
        parts = [matrix(x[start : start + size]) for start in range(0, len(x), size)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_leading_and_trailing_zeros_are_not_stored():
    weight = np.zeros((40, 257), np.float32)
    weight[3, 20], weight[4, 29], weight[35, 256] = 1.0, 2.0, 3.0  # the second strip is empty
    matrix = RowMatrix(weight)
    assert len(matrix._weights) == 16 * (10 + 1 + 1)
    x = np.random.default_rng(0).standard_normal((5, 257)).astype(np.float32)
    np.testing.assert_array_equal(matrix(x[::-1]), (x @ weight.T)[::-1])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="matrix, got shape"):
        RowMatrix(np.zeros((0, 3), np.float32))
    with pytest.raises(ValueError, match="bias: wanted 2 numbers"):
        RowMatrix(np.zeros((2, 3), np.float32), np.zeros(3))
    with pytest.raises(ValueError, match="rows of 3 numbers, got shape"):
        RowMatrix(np.zeros((2, 3), np.float32))(np.zeros((4, 2), np.float32))
