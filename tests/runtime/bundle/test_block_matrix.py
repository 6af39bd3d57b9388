import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix


def blocks_of(rows, columns, block, density, seed=0):
    """A random matrix with whole blocks of zeros."""
    rng = np.random.default_rng(seed)
    keep = rng.random((-(-rows // block[0]), -(-columns // block[1]))) < density
    mask = keep.repeat(block[0], 0).repeat(block[1], 1)[:rows, :columns]
    return (rng.standard_normal((rows, columns)) * mask).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    block=st.tuples(st.integers(1, 20), st.integers(1, 9)),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_a_matrix_survives_compression(rows, columns, block, density):
    dense = blocks_of(rows, columns, block, density)
    matrix = BlockMatrix.from_dense(dense, block)
    assert np.array_equal(matrix.to_dense(), dense)
    again = BlockMatrix.from_arrays(matrix.arrays())
    assert np.array_equal(again.to_dense(), dense) and again.block == block
    assert np.array_equal(matrix.with_block((3, 2)).to_dense(), dense)
    assert np.array_equal(matrix.times(0.5).to_dense(), dense / 2)
    half = rows // 2
    assert np.array_equal(matrix.take_rows(half, rows).to_dense(), dense[half:])
    small = matrix.quantize()
    step = np.abs(dense).max(1, keepdims=True) / 127
    assert (np.abs(small.to_dense() - dense) <= step / 2 * 1.001).all()
    again = BlockMatrix.from_arrays(small.arrays())
    assert np.array_equal(again.to_dense(), small.to_dense())


def test_density_and_size():
    matrix = BlockMatrix.from_dense(blocks_of(64, 64, (16, 1), 0.3), (16, 1))
    kept = len(matrix.indices)
    assert matrix.density == kept / 256
    size = sum(array.nbytes for name, array in matrix.arrays().items() if name != "starts")
    assert size == 16 + kept * (64 + 2)


def test_what_is_no_matrix_is_refused():
    dense = blocks_of(8, 8, (4, 1), 0.5)
    with pytest.raises(ValueError, match="finite float32"):
        BlockMatrix.from_dense(dense.astype(np.float64), (4, 1))
    dense[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite float32"):
        BlockMatrix.from_dense(dense, (4, 1))
    with pytest.raises(ValueError, match="wanted a matrix"):
        BlockMatrix.from_dense(np.zeros(3, np.float32), (4, 1))
    with pytest.raises(ValueError, match="65536"):
        BlockMatrix.from_dense(np.zeros((1, 65537), np.float32), (1, 1))


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("indices", lambda a: a + 8, "indices: 1"),
        ("indices", lambda a: a[::-1].copy(), "ascending"),
        ("indices", lambda a: a[:-1], "values: wanted|bounds"),
        ("indices", lambda a: a.astype(np.int64), "indices: wanted uint16"),
        ("starts", lambda a: a[::-1].copy(), "starts"),
        ("starts", lambda a: a[:-1], "starts: wanted int32"),
        ("values", lambda a: a.astype(np.int8), "values: wanted float32"),
        ("shape", lambda a: a[:3], "four numbers"),
        ("shape", lambda a: a * 0, "a matrix of 0 x 0"),
    ],
)
def test_damaged_arrays_are_refused(name, change, message):
    arrays = BlockMatrix.from_dense(blocks_of(8, 8, (4, 1), 0.7), (4, 1)).arrays()
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=message):
        BlockMatrix.from_arrays(arrays)
    with pytest.raises(ValueError, match="without"):
        BlockMatrix.from_arrays({key: value for key, value in arrays.items() if key != name})


def test_int8_is_not_quantised_again():
    small = BlockMatrix.from_dense(blocks_of(8, 8, (8, 4), 0.7), (8, 4)).quantize()
    with pytest.raises(ValueError, match="int8 already"):
        small.quantize()
