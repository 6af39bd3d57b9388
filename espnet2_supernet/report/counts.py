"""Error counts of one utterance, one speaker or one test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from espnet2_supernet.errors import DataError


@dataclass(frozen=True)
class Counts:
    """What an alignment of a hypothesis with its reference counts, in tokens.

    Attributes:
        correct: Reference tokens recognised.
        substitutions: Reference tokens replaced by another.
        deletions: Reference tokens without a counterpart.
        insertions: Hypothesis tokens without a counterpart.
    """

    correct: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def reference_length(self) -> int:
        """Tokens in the reference."""
        return self.correct + self.substitutions + self.deletions

    @property
    def hypothesis_length(self) -> int:
        """Tokens in the hypothesis."""
        return self.correct + self.substitutions + self.insertions

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def error_rate(self) -> float:
        """Errors in percent of the reference tokens; infinite for errors on no reference."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return 100.0 * self.errors / self.reference_length

    def to_dict(self) -> dict[str, int]:
        """Return the four counts by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Counts:
        """Build the counts from a mapping that may hold other keys too.

        Args:
            values: Holds at least the four counts.
            where: Named in the error.

        Returns:
            The counts.

        Raises:
            DataError: If a count is missing or is not a number >= 0.
        """
        names = [field.name for field in fields(cls)]
        for name in names:
            value = values.get(name)
            if not isinstance(value, int) or value < 0:
                raise DataError(f"{where}: '{name}' must be a whole number >= 0; score again")
        return cls(**{name: values[name] for name in names})


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Add up counts.

    Args:
        counts: Of utterances or speakers.

    Returns:
        Their sum; all zero for none.
    """
    correct = substitutions = deletions = insertions = 0
    for item in counts:
        correct += item.correct
        substitutions += item.substitutions
        deletions += item.deletions
        insertions += item.insertions
    return Counts(correct, substitutions, deletions, insertions)
