"""What several experiments have in common: size, speed, and which rows nothing else dominates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.files import read_json_object
from espnet2_supernet.report.reference import Reference
from espnet2_supernet.report.results import Decode

EXTRACTED = "extract.json"  # of prune_extract, beside the model


@dataclass(frozen=True)
class ComparedRow:
    """One row of the comparison.

    Attributes:
        decode: What was decoded, with its sizes and times.
        reference: What it is compared with; None if the reference has no such row.
        parameters: Parameters of the subnet as it is deployed; None if unknown.
        nonzero: Those that are not zero.
        fronts: Test sets on which it is Pareto-optimal.
    """

    decode: Decode
    reference: Decode | None
    parameters: int | None
    nonzero: int | None
    fronts: tuple[str, ...]

    @property
    def factor(self) -> float | None:
        """Real-time factor in PyTorch, CPU time."""
        return self.decode.measured.real_time_factor

    @property
    def speed(self) -> float | None:
        """How many times faster than the reference; None unless both were measured in turns."""
        other = None if self.reference is None else self.reference.measured
        if other is None or other.run != self.decode.measured.run:
            return None
        factor = other.real_time_factor
        return factor / self.factor if factor and self.factor else None

    @property
    def parameter_share(self) -> float | None:
        """Parameters as a fraction of the reference's."""
        other = None if self.reference is None else deployed_size(self.reference)[0]
        return self.parameters / other if other and self.parameters is not None else None


def compared_rows(decodes: Sequence[Decode], reference: Reference) -> list[ComparedRow]:
    """Put rows beside a reference.

    Args:
        decodes: The rows.
        reference: What they are compared with.

    Raises:
        DataError: If a size is damaged.
    """
    return [
        ComparedRow(
            one,
            reference.row_for(one, decodes),
            *deployed_size(one),
            tuple(name for name in sorted(one.sets) if is_on_front(one, decodes, name)),
        )
        for one in decodes
    ]


def deployed_size(decode: Decode) -> tuple[int | None, int | None]:
    """Return parameters and non-zeros of a subnet: as extracted, else as in the supernet.

    Raises:
        DataError: If ``extract.json`` is damaged.
    """
    path = decode.expdir / f"extracted_{decode.subnet}" / EXTRACTED
    if path.is_file():
        content = read_json_object(path)
        sizes = content.get("parameters"), content.get("nonzero")
        if not all(isinstance(size, int) for size in sizes):
            raise DataError(f"{path}: 'parameters' and 'nonzero' must be numbers; extract again")
        return sizes
    return (decode.size.parameters, decode.size.nonzero) if decode.size else (None, None)


def is_on_front(decode: Decode, decodes: Sequence[Decode], test_set: str) -> bool:
    """Tell whether no row of no larger algorithmic latency dominates it in error rate and factor.

    A row dominates another that is better in neither and worse in one.

    Args:
        decode: The row.
        decodes: All rows; those without either number dominate nothing.
        test_set: Where.
    """
    own = _point(decode, test_set)
    if own is None:
        return False
    others = (_point(other, test_set) for other in decodes)
    return not any(
        other and all(a <= b for a, b in zip(other, own, strict=True)) and other[:2] != own[:2]
        for other in others
    )


def _point(decode: Decode, test_set: str) -> tuple[float, float, float] | None:
    score, factor = decode.score(test_set), decode.measured.real_time_factor
    if score is None or factor is None:
        return None
    latency = math.inf if decode.latency_ms is None else decode.latency_ms
    return score.total.error_rate, factor, latency
