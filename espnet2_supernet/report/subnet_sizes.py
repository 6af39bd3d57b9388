"""Sizes of the subnets of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.files import read_json_object

_SIZE_KEYS = ("parameters", "nonzero", "prunable", "prunable_nonzero", "bytes_dense_fp32")


@dataclass(frozen=True)
class SubnetSize:
    """Size of one subnet, from ``subnets.json``.

    Attributes:
        parameters: All parameters.
        nonzero: Those that are not zero under the subnet's mask.
        prunable: Parameters of layers that a mask may touch.
        prunable_nonzero: Those of them that are not zero.
        bytes_dense_fp32: Bytes of all parameters in dense float32.
    """

    parameters: int
    nonzero: int
    prunable: int
    prunable_nonzero: int
    bytes_dense_fp32: int

    @property
    def sparsity_prunable(self) -> float:
        """Fraction of zeros among prunable weights."""
        return 1.0 - self.prunable_nonzero / self.prunable if self.prunable else 0.0

    @property
    def sparsity_total(self) -> float:
        """Fraction of zeros among all weights."""
        return 1.0 - self.nonzero / self.parameters if self.parameters else 0.0


def read_sizes(path: Path) -> dict[str, SubnetSize]:
    """Read ``subnets.json``.

    Args:
        path: ``{subnet: {parameters, nonzero, prunable, prunable_nonzero, bytes_dense_fp32}}``;
            it may be missing.

    Returns:
        ``{subnet: size}``, empty without the file.

    Raises:
        DataError: If the file is there but damaged.
    """
    if not path.exists():
        return {}
    sizes = {}
    for name, values in read_json_object(path).items():
        if not isinstance(values, Mapping) or not all(
            isinstance(values.get(key), int) for key in _SIZE_KEYS
        ):
            raise DataError(f"{path}: subnet '{name}' needs the numbers {', '.join(_SIZE_KEYS)}")
        sizes[name] = SubnetSize(**{key: values[key] for key in _SIZE_KEYS})
    return sizes
