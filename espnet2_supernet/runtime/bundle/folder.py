"""A bundle: one streaming subnet as a folder that needs neither torch nor ESPnet.

    bundle.json     what it is, see ``description``
    weights.npz     all numbers; block-compressed matrices as five arrays each, see ``weights_file``
    SHA256SUMS      digests of the other files; ``sha256sum -c SHA256SUMS`` checks them, too

npz and not safetensors: numpy reads it alone, and without pickle it is data only (our choice).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.description import Description, check_format
from espnet2_supernet.runtime.bundle.weights_file import read_arrays, write_arrays

Array = np.ndarray
Weights = dict[str, Any]  # arrays, and BlockMatrix for what is block-compressed
DESCRIPTION, WEIGHTS, SUMS = "bundle.json", "weights.npz", "SHA256SUMS"
_SEPARATOR = "/"  # between the name of a matrix and that of one of its arrays


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory.

    Attributes:
        description: What it is.
        weights: Arrays (float32) and block-compressed matrices by the names of the source model.
    """

    description: Description
    weights: Weights


def write_bundle(
    folder: Path, bundle: Bundle, records: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Write the files of a bundle into a folder.

    The caller makes the whole atomic (a temporary folder, renamed): see ``tasks/bundle.py``.

    Args:
        folder: Existing folder.
        bundle: What to write; other than block-compressed matrices keep their type on the disk.
        records: More JSON files by name, which only people read.

    Returns:
        Bytes by file name.

    Raises:
        OSError: If a file cannot be written.
    """
    arrays: dict[str, Array] = {}
    for name, value in bundle.weights.items():
        if isinstance(value, BlockMatrix):
            arrays |= {f"{name}{_SEPARATOR}{key}": one for key, one in value.arrays().items()}
        else:
            arrays[name] = value
    write_arrays(folder / WEIGHTS, arrays)
    texts = {DESCRIPTION: bundle.description.to_dict(), **(records or {})}
    for name, content in texts.items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    names = sorted([WEIGHTS, *texts])
    sums = "".join(f"{file_digest(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(sums, encoding="utf-8")
    return {name: (folder / name).stat().st_size for name in [*names, SUMS]}


def read_bundle(folder: str | Path, allow_untrained: bool = False) -> Bundle:
    """Read a bundle and check every byte of it.

    Args:
        folder: The bundle.
        allow_untrained: Accept a subnet that was not trained as it is used here.

    Returns:
        The bundle; arrays that are stored as float16 are float32.

    Raises:
        CheckpointError: If a file is missing, truncated or edited, of another version, or the
            subnet is untrained.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such bundle folder")
    content = _read_description(folder)
    _check_sums(folder)
    description = Description.from_dict(content, str(folder / DESCRIPTION))
    if not description.source.trained and not allow_untrained:
        raise CheckpointError(
            f"{folder}: subnet '{description.source.subnet}' was not trained as this bundle uses "
            f"it (trained: {' | '.join(description.source.contexts)}); its output may be bad. "
            "Allow untrained subnets to use it nevertheless"
        )
    return Bundle(description, _read_weights(folder / WEIGHTS))


def _read_description(folder: Path) -> Any:
    """Read ``bundle.json`` as far as its version.

    The digests come after: a bundle of another version may not have them.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); no bundle") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: truncated or edited, not JSON ({error})") from error
    check_format(content, str(path))
    return content


def _check_sums(folder: Path) -> None:
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not a list of digests") from error
    for name in {DESCRIPTION, WEIGHTS} | set(sums):
        if name not in sums or Path(name).name != name:
            raise CheckpointError(f"{path}: no digest of {name}")
        try:
            digest = file_digest(folder / name)
        except OSError as error:
            raise CheckpointError(
                f"{folder / name}: cannot be read ({error.strerror}); the bundle is incomplete"
            ) from error
        if digest != sums[name]:
            raise CheckpointError(
                f"{folder / name}: truncated or edited, its checksum differs from {SUMS}; "
                "copy the bundle again"
            )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_weights(path: Path) -> Weights:
    weights: Weights = {}
    matrices: dict[str, dict[str, Array]] = {}
    for key, array in read_arrays(path).items():
        name, _, part = key.rpartition(_SEPARATOR)
        if name:
            matrices.setdefault(name, {})[part] = array
        else:
            weights[part] = array
    for name, parts in matrices.items():
        try:
            weights[name] = BlockMatrix.from_arrays(parts)
        except ValueError as error:
            raise CheckpointError(f"{path}: {name}: {error}") from error
    return weights
