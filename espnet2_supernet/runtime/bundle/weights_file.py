"""``weights.npz``: the numbers of a bundle.

A float32 array is stored as two members, of its highest bytes and of the three others. The highest
byte holds the sign and most of the exponent: of weights it takes about three bits when
deflated, which saves a seventh of the file without changing a number. The other bytes are noise and
are not deflated, so that reading stays quick.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from espnet2_supernet.errors import CheckpointError

Array = np.ndarray
FLOAT = np.dtype("<f4")
HIGH, LOW = "@high", "@low"
MIN_SIZE = 4096  # numbers; smaller arrays are not worth two members


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays; equal ones make equal bytes.

    Args:
        path: The file.
        arrays: Arrays by name; ``@`` is for this file.

    Raises:
        OSError: If the file cannot be written.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            if array.dtype != np.float32 or array.size < MIN_SIZE:
                _add(archive, name, np.ascontiguousarray(array), zipfile.ZIP_STORED)
                continue
            planes = np.ascontiguousarray(array, FLOAT).view(np.uint8).reshape(*array.shape, 4)
            high, low = (np.ascontiguousarray(part) for part in (planes[..., 3], planes[..., :3]))
            _add(archive, name + HIGH, high, zipfile.ZIP_DEFLATED)
            _add(archive, name + LOW, low, zipfile.ZIP_STORED)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read arrays; what is stored as float16 becomes float32.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            members = {name: stored[name] for name in stored.files}
        arrays = {name: value for name, value in members.items() if "@" not in name}
        for name in [name for name in members if name.endswith(HIGH)]:
            plain = name.removesuffix(HIGH)
            arrays[plain] = _join(members[name], members[plain + LOW])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in arrays.items()
    }


def _add(archive: zipfile.ZipFile, name: str, array: Array, compression: int) -> None:
    member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
    member.compress_type = compression
    with archive.open(member, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _join(high: Array, low: Array) -> Array:
    """Put the planes of a float32 array together."""
    if low.shape != (*high.shape, 3) or {high.dtype, low.dtype} != {np.dtype(np.uint8)}:
        raise ValueError(f"planes {high.shape} and {low.shape} do not belong together")
    planes = np.concatenate([low, high[..., None]], axis=-1)
    joined: Array = planes.view(FLOAT)[..., 0]
    return np.ascontiguousarray(joined, np.float32)
