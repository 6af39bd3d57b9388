"""Arrays are stored bit for bit, in fewer bytes."""

import numpy as np
import pytest

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle.weights_file import read_arrays, write_arrays


def arrays():
    rng = np.random.default_rng(0)
    odd = np.array([0.0, -0.0, 1e-45, -1e-40, 3e38, np.inf, -np.inf, 1.0], np.float32)
    return {
        "small": odd,
        "odd": np.tile(odd, 1000).reshape(80, 100),
        "blocks/values": (0.05 * rng.standard_normal((5000, 16, 1))).astype(np.float32),
        "transposed": rng.standard_normal((70, 90)).astype(np.float32).T,
        "integers": rng.integers(0, 9, 9000).astype(np.uint16),
        "bytes": rng.integers(-9, 9, 9000).astype(np.int8),
        "empty": np.zeros((0, 16, 1), np.float32),
    }


def test_every_bit_comes_back_in_fewer_bytes(tmp_path):
    path, wanted = tmp_path / "w.npz", arrays()
    write_arrays(path, wanted)
    found = read_arrays(path)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].flags.c_contiguous
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes()
    write_arrays(path, {"w": wanted["blocks/values"]})
    assert path.stat().st_size < 0.87 * wanted["blocks/values"].nbytes


def test_half_precision_is_widened(tmp_path):
    half = np.linspace(-2, 2, 5000).astype(np.float16)
    write_arrays(tmp_path / "w.npz", {"w": half})
    found = read_arrays(tmp_path / "w.npz")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, half.astype(np.float32))


@pytest.mark.parametrize(
    "members",
    [
        {"w@high": np.zeros(5, np.uint8)},
        {"w@high": np.zeros(5, np.uint8), "w@low": np.zeros((4, 3), np.uint8)},
        {"w@high": np.zeros(5, np.int64), "w@low": np.zeros((5, 3), np.uint8)},
        {"w": np.array([{}])},
    ],
)
def test_what_is_no_array_is_an_error(tmp_path, members):
    np.savez(tmp_path / "w.npz", **members)
    with pytest.raises(CheckpointError, match="w.npz: cannot be read"):
        read_arrays(tmp_path / "w.npz")
