"""Bootstrap intervals of an error rate and the paired bootstrap test between two systems.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004. Utterances, or all utterances of a speaker together, are drawn with
replacement; the rate of a draw is its errors over its reference tokens. Percentile intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from espnet2_supernet.errors import ConfigError, DataError

UNITS = ("auto", "utterance", "speaker")
MIN_SPEAKERS = 20  # fewer clusters make a cluster bootstrap too narrow (our choice)
_MAX_DRAWN = 2_000_000  # indices held at once


@dataclass(frozen=True)
class Bootstrap:
    """How to resample.

    Attributes:
        unit: ``utterance``, ``speaker``, or ``auto`` = speaker from 20 speakers on.
        resamples: Number of draws.
        seed: Of the random generator.
        confidence: Coverage of the interval, in (0, 1).
    """

    unit: str = "auto"
    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If a value is out of range.
        """
        if self.unit not in UNITS:
            raise ConfigError(f"bootstrap unit '{self.unit}' is unknown; use {', '.join(UNITS)}")
        if self.resamples < 100:
            raise ConfigError(f"bootstrap resamples must be >= 100, found {self.resamples}")
        if self.seed < 0:
            raise ConfigError(f"bootstrap seed must be >= 0, found {self.seed}")
        if not 0.0 < self.confidence < 1.0:
            raise ConfigError(f"confidence must be in (0, 1), found {self.confidence}")


@dataclass(frozen=True)
class Interval:
    """An interval of an error rate or of a difference, in percent.

    Attributes:
        low: Lower end.
        high: Upper end.
        confidence: Coverage aimed at.
        unit: What was drawn: ``utterance`` or ``speaker``.
        units: How many of them there are.
        resamples: Number of draws.
        seed: Of the random generator.
    """

    low: float
    high: float
    confidence: float
    unit: str
    units: int
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, float | int | str]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class PairedTest:
    """Difference of two systems on the same utterances.

    Attributes:
        difference: Error rate of A minus that of B, in percent points.
        interval: Of the difference.
        p_value: Two-sided, for "no difference"; never below ``2 / (resamples + 1)``.
    """

    difference: float
    interval: Interval
    p_value: float


def bootstrap_interval(
    errors: Sequence[int], lengths: Sequence[int], speakers: Sequence[str], method: Bootstrap
) -> Interval | None:
    """Estimate the interval of an error rate.

    Args:
        errors: Errors of each utterance, (N,).
        lengths: Reference tokens of each utterance, (N,).
        speakers: Speaker of each utterance, (N,).
        method: How to resample.

    Returns:
        The interval in percent; None for fewer than two units, where nothing can be said.

    Raises:
        DataError: If the lengths of the arguments differ or there is no reference token.
    """
    unit = choose_unit(method.unit, speakers)
    (units_errors,), units_lengths = _group([errors], lengths, speakers, unit)
    if len(units_lengths) < 2:
        return None
    rates = _resampled_rates(units_errors, units_lengths, method)
    return _interval(rates, method, unit, len(units_lengths))


def paired_bootstrap(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str],
    method: Bootstrap,
) -> PairedTest | None:
    """Test whether two systems differ, drawing the same utterances for both.

    Args:
        errors_a: Errors of system A on each utterance, (N,).
        errors_b: Errors of system B on each utterance, (N,).
        lengths: Reference tokens of each utterance, (N,).
        speakers: Speaker of each utterance, (N,).
        method: How to resample.

    Returns:
        Difference, interval and p value; None for fewer than two units.

    Raises:
        DataError: If the lengths of the arguments differ or there is no reference token.
    """
    unit = choose_unit(method.unit, speakers)
    (units_a, units_b), units_lengths = _group([errors_a, errors_b], lengths, speakers, unit)
    if len(units_lengths) < 2:
        return None
    # Whole numbers until the division: equal totals give a difference of exactly zero.
    differences = _resampled_rates(units_a - units_b, units_lengths, method)
    low_tail = int(np.count_nonzero(differences <= 0))
    high_tail = int(np.count_nonzero(differences >= 0))
    p_value = min(1.0, 2.0 * (min(low_tail, high_tail) + 1) / (method.resamples + 1))
    difference = 100.0 * (int(units_a.sum()) - int(units_b.sum())) / int(units_lengths.sum())
    interval = _interval(differences, method, unit, len(units_lengths))
    return PairedTest(difference, interval, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number, by Holm's step-down method (Scand. J. Statist. 6, 1979).

    Args:
        p_values: Of all tests of a family.

    Returns:
        Corrected values in the same order: a test rejected at 0.05 is one of a family in which any
        false rejection has a probability of at most 0.05.

    Example:
        >>> holm([0.25, 0.0625, 0.125])
        [0.25, 0.1875, 0.25]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def choose_unit(unit: str, speakers: Sequence[str]) -> str:
    """Turn ``auto`` into what is drawn.

    Args:
        unit: ``auto``, ``utterance`` or ``speaker``.
        speakers: Speaker of each utterance, (N,).

    Returns:
        ``utterance`` or ``speaker``.
    """
    if unit != "auto":
        return unit
    return "speaker" if len(set(speakers)) >= MIN_SPEAKERS else "utterance"


def _group(
    errors: list[Sequence[int]], lengths: Sequence[int], speakers: Sequence[str], unit: str
) -> tuple[list[np.ndarray], np.ndarray]:
    sizes = {len(lengths), len(speakers), *(len(row) for row in errors)}
    if len(sizes) != 1:
        raise DataError(f"errors, lengths and speakers differ in number: {sorted(sizes)}")
    if sum(lengths) <= 0:
        raise DataError("no reference token: an error rate cannot be computed")
    if unit == "utterance":
        index = np.arange(len(lengths))
    else:
        index = np.unique(np.asarray(speakers), return_inverse=True)[1]

    def total(values: Sequence[int]) -> np.ndarray:
        sums = np.zeros(int(index.max()) + 1, dtype=np.int64)
        np.add.at(sums, index, np.asarray(values, dtype=np.int64))
        return sums

    return [total(row) for row in errors], total(lengths)


def _resampled_rates(errors: np.ndarray, lengths: np.ndarray, method: Bootstrap) -> np.ndarray:
    generator = np.random.default_rng(method.seed)
    units = len(lengths)
    block = max(1, _MAX_DRAWN // units)
    parts = []
    for start in range(0, method.resamples, block):
        rows = min(block, method.resamples - start)
        drawn = generator.integers(0, units, size=(rows, units))
        # A draw of empty references only has no rate; it counts as one token.
        tokens = np.maximum(lengths[drawn].sum(axis=1), 1)
        parts.append(100.0 * errors[drawn].sum(axis=1) / tokens)
    return np.concatenate(parts)


def _interval(rates: np.ndarray, method: Bootstrap, unit: str, units: int) -> Interval:
    tail = (1.0 - method.confidence) / 2.0
    low, high = np.quantile(rates, [tail, 1.0 - tail])
    return Interval(
        float(low), float(high), method.confidence, unit, units, method.resamples, method.seed
    )
