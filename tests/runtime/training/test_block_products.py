import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.runtime.training import block_products as products
from espnet2_supernet.runtime.training.block_products import BlockIndex

pytestmark = pytest.mark.skipif(not products.supported(), reason="no AVX2")
GUARD = 64


class Case:
    """A random layer and its three products, inside arrays whose margins nobody may touch."""

    def __init__(self, rows, groups, strips, density, seed, allocate=None):
        rng = np.random.default_rng(seed)
        self.keep = rng.random((groups, strips * 16)) < density
        self.index = BlockIndex.build(self.keep)
        outs, ins = groups * 16, strips * 16
        self.mask = self.keep.repeat(16, 0)
        self.arrays = {}
        place = allocate or self._guarded
        shapes = {"x": (rows, ins), "weight": (outs, ins), "bias": (outs,), "grads": (rows, outs)}
        for name, shape in shapes.items():
            setattr(self, name, place(shape))
            getattr(self, name)[:] = rng.standard_normal(shape)
        self.out, self.by_x = place((rows, outs)), place((rows, ins))
        self.by_weight, self.by_bias = place((outs, ins)), place((outs,))

    def _guarded(self, shape):
        size = int(np.prod(shape))
        whole = np.full(size + 2 * GUARD, np.nan, np.float32)
        self.arrays[len(self.arrays)] = (whole, size)
        return whole[GUARD : GUARD + size].reshape(shape)

    def run(self, threads=1):
        packed = products.pack(self.index, self.weight)
        products.forward(self.index, packed, self.x, self.bias, self.out, threads)
        products.input_gradient(self.index, packed, self.grads, self.by_x, threads)
        products.weight_gradient(
            self.index, self.x, self.grads, self.by_weight, self.by_bias, threads
        )
        return self.out, self.by_x, self.by_weight, self.by_bias

    def wanted(self):
        x, weight, grads = (one.astype(np.float64) for one in (self.x, self.weight, self.grads))
        weight = weight * self.mask
        return x @ weight.T + self.bias, grads @ weight, grads.T @ x * self.mask, grads.sum(0)


def assert_close(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * (1 + np.abs(other).max()))


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 150),
    groups=st.integers(1, 5),
    strips=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.02, 0.3, 0.8, 1.0]),
    seed=st.integers(0, 9),
)
def test_products_equal_dense_ones(rows, groups, strips, density, seed):
    case = Case(rows, groups, strips, density, seed)
    assert_close(case.run(), case.wanted())
    for whole, size in case.arrays.values():
        assert np.isnan(whole[:GUARD]).all() and np.isnan(whole[GUARD + size :]).all()


@pytest.mark.parametrize("rows", [1, 31, 64, 65, 500])
def test_threads_do_not_change_a_bit(rows):
    once = [one.copy() for one in Case(rows, 5, 7, 0.3, 1).run()]
    for threads in (1, 2, 3):
        for a, b in zip(once, Case(rows, 5, 7, 0.3, 1).run(threads), strict=True):
            assert np.array_equal(a, b)


def test_empty_groups_and_columns():
    case = Case(40, 3, 2, 0.5, 0)
    case.keep[1] = False
    case.keep[:, 5] = False
    case.mask, case.index = case.keep.repeat(16, 0), BlockIndex.build(case.keep)
    assert_close(case.run(), case.wanted())
    assert not case.by_x[:, 5].any() and np.array_equal(case.out[0, 16:32], case.bias[16:32])


def test_no_rows():
    out, by_x, by_weight, by_bias = Case(0, 2, 2, 0.5, 0).run()
    assert not by_weight.any() and not by_bias.any() and not out.size and not by_x.size


def test_bad_numbers_are_not_hidden():
    case = Case(20, 2, 2, 0.5, 0)
    case.x[3], case.grads[5] = np.nan, np.inf
    out, by_x, _, _ = case.run()
    assert np.isnan(out[3]).all() and np.isfinite(np.delete(out, 3, 0)).all()
    assert np.isfinite(np.delete(by_x, 5, 0)).all()
    assert not np.isfinite(by_x[5][case.keep.any(0)]).any()


def test_tiles_hold_every_block_once():
    keep = np.random.default_rng(0).random((7, 96)) < 0.35
    index = BlockIndex.build(keep)
    assert index.density == pytest.approx(keep.mean())
    seen = np.zeros(len(index.columns), int)
    for first, size, group in index.tiles:
        assert 2 <= size <= products.COLUMNS and size % 2 == 0
        assert index.starts[group] <= first
        seen[first : first + size] += 1
    assert (seen == 1).all()
    for group, row in enumerate(keep):
        start = index.starts[group]
        kept = index.columns[start : start + index.counts[group]]
        assert np.array_equal(kept, np.flatnonzero(row))


def test_what_kernels_cannot_read_is_refused():
    case = Case(4, 1, 2, 0.5, 0)
    packed = products.pack(case.index, case.weight)
    with pytest.raises(ValueError, match="multiple of 16 columns, got 20"):
        BlockIndex.build(np.ones((1, 20), bool))
    with pytest.raises(ValueError, match="weight: wanted contiguous float32"):
        products.pack(case.index, case.weight.T)
    for bad in (case.x[:, :16], case.x.astype(np.float64), case.x.T.copy().T):
        with pytest.raises(ValueError, match="x: wanted contiguous float32"):
            products.forward(case.index, packed, bad, case.bias, case.out)
    with pytest.raises(ValueError, match="out: wanted"):
        products.input_gradient(case.index, packed, case.grads, case.out)


def _fenced(shape):
    """An array that ends where memory that must not be touched begins."""
    size = int(np.prod(shape)) * 4
    pages = -(-size // mmap.PAGESIZE) + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fence = (pages - 1) * mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + fence), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return np.frombuffer(memory, np.float32, size // 4, fence - size).reshape(shape)


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
def test_nothing_is_read_or_written_behind_an_array():
    code = f"import runpy; runpy.run_path({__file__!r})['_run_fenced']()"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def _run_fenced():
    for rows in (1, 15, 16, 33, 64, 100):
        for density in (0.0, 0.3, 1.0):
            case = Case(rows, 3, 5, density, rows, _fenced)
            assert_close(case.run(), case.wanted())
