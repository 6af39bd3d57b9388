"""The detector's threshold: recall first, or a keep ratio, on a validation set.

Two recalls are told apart. ``recall`` counts salient frames that are kept: the frames that start
the teacher's runs. ``run_recall`` counts runs of which any frame is kept: a CTC path collapses a
run, so that it does not matter which (our definition). Long runs are easy to find, so the same is
told of the runs of tokens alone, without blanks, and of frames kept by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from espnet2_supernet.damon.detector import log_odds
from espnet2_supernet.errors import ConfigError, DataError

CURVE = tuple(i / 20 for i in range(1, 20))  # probabilities of the reported curve
# Probabilities that a detector can store, which are float32, and whose log-odds are finite
LEAST, MOST = 2.0**-126, 1 - 2.0**-24


@dataclass(frozen=True)
class ScoredFrames:
    """The frames of a validation set, all utterances in a row.

    Attributes:
        scores: Log-odds of being salient ``(N,)``.
        targets: Which frames are salient ``(N,)``, boolean.
        runs: Number of the run that a frame belongs to ``(N,)``, from 0; every number occurs.
        blank: Which frames the teacher calls blank ``(N,)``, boolean.
    """

    scores: Tensor
    targets: Tensor
    runs: Tensor
    blank: Tensor

    @cached_property
    def best(self) -> Tensor:
        """Largest score of each run ``(R,)``: a threshold up to it keeps a frame of the run."""
        lowest = self.scores.new_full((int(self.runs.max()) + 1,), -torch.inf)
        return lowest.scatter_reduce(0, self.runs, self.scores, "amax")

    @cached_property
    def of_tokens(self) -> Tensor:
        """Which runs are of a token, not of blanks ``(R,)``."""
        found = torch.zeros(len(self.best), dtype=torch.bool)
        return found.scatter(0, self.runs, ~self.blank)


def choose_threshold(
    frames: ScoredFrames,
    recall: float | None = None,
    keep_ratio: float | None = None,
    run_recall: float | None = None,
) -> float:
    """Choose the largest threshold with so much recall, or the least that keeps so few frames.

    It lies halfway between two scores, far from where rounding could change a decision. Of equal
    scores all are kept or none.

    Args:
        frames: The validation set.
        recall: Salient frames kept, at least.
        keep_ratio: Instead, frames kept, at most.
        run_recall: Instead, runs with a frame kept, at least.

    Returns:
        Log-odds.

    Raises:
        ConfigError: If not exactly one of them is given, inside (0, 1].
        DataError: If there is no salient frame, or the keep ratio leaves first frames only.

    Example:
        >>> frames = ScoredFrames(
        ...     torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, False, True, False]),
        ...     runs=torch.tensor([0, 0, 1, 1]), blank=torch.zeros(4).bool())
        >>> choose_threshold(frames, recall=0.5)
        2.5
        >>> choose_threshold(frames, keep_ratio=0.75)
        0.5
    """
    fraction = _only_fraction(recall, keep_ratio, run_recall)
    if not frames.targets.any():
        raise DataError("there is no salient frame to choose a threshold by")
    ranked = frames.scores.double().sort(descending=True).values
    if keep_ratio is not None:
        lowest = _lowest_of_best(ranked, fraction)
    else:
        lowest = _lowest_with(
            frames.best if recall is None else frames.scores[frames.targets], fraction
        )
    return _halfway_below(ranked, lowest)


def _halfway_below(ranked: Tensor, lowest: Tensor) -> float:
    """Return a number between a score, a scalar, and the next of scores ``(N,)``, best first."""
    below = ranked[ranked < lowest]
    if lowest.isinf():  # first frames, which are kept in any case, do
        return float(below[0] + 1.0) if len(below) else 0.0
    return float((lowest + below[0]) / 2 if len(below) else lowest - 1.0)


def _lowest_with(wanted: Tensor, recall: float) -> Tensor:
    """Return the largest score, a scalar, that so many of the wanted ones ``(N,)`` reach."""
    ranked = wanted.double().sort(descending=True).values
    return ranked[max(0, math.ceil(recall * len(ranked) - 1e-6) - 1)]


def _lowest_of_best(ranked: Tensor, keep_ratio: float) -> Tensor:
    """Return the least score, a scalar, that at most so many of scores ``(N,)``, best first, reach.

    Raises:
        DataError: If only the infinite scores of first frames are so few, or not even they.
    """
    most = int(keep_ratio * len(ranked) + 1e-6)
    kept = ranked[:most]
    if most < len(ranked):
        kept = kept[kept > ranked[most]]
    if not len(kept) or kept[-1].isinf():
        raise DataError(
            f"keep ratio {keep_ratio:g}: nothing but the first frame of each utterance is left, "
            "since too many other frames have one score, or so few are wanted; ask for more, or "
            "train the detector further"
        )
    return kept[-1]


def as_probability(frames: ScoredFrames, threshold: float, at_most: bool) -> float:
    """Turn log-odds into the probability that a detector stores, in float32.

    Args:
        frames: The validation set.
        threshold: Log-odds from which a frame is kept.
        at_most: Where float32 is too coarse, keep fewer frames rather than more.

    Returns:
        Inside (0, 1). Decides about these frames as the log-odds do, wherever one can.

    Raises:
        DataError: If the scores lie where all probabilities are 1 or 0.

    Example:
        >>> frames = ScoredFrames(
        ...     torch.tensor([18.0, 15.0]), torch.tensor([True, False]),
        ...     runs=torch.tensor([0, 1]), blank=torch.zeros(2).bool())
        >>> as_probability(frames, 17.5, at_most=True) < 1
        True
    """
    nearest = torch.tensor(threshold).double().sigmoid().clamp(LEAST, MOST).float()
    below, above = (nearest.nextafter(end).clamp(LEAST, MOST) for end in nearest.new_tensor([0, 1]))
    wanted = frames.scores.double() >= threshold
    kept = {one: frames.scores >= log_odds(one) for one in map(float, (nearest, below, above))}
    fitting = [one for one, found in kept.items() if torch.equal(found, wanted)]
    for one, found in kept.items():
        is_bounded = bool((found <= wanted if at_most else found >= wanted).all())
        if is_bounded and bool(frames.scores[found].isfinite().any()):
            fitting.append(one)
    if not fitting:
        raise DataError(
            f"log-odds of {threshold:.6g}, the threshold, are no probability in float32: the "
            "detector is too sure; train it for fewer epochs or with more weight_decay"
        )
    return fitting[0]


def _only_fraction(*values: float | None) -> float:
    """Return the one value that is given; refuse none, several, or no fraction."""
    given = [value for value in values if value is not None]
    if len(given) != 1 or not 0 < given[0] <= 1:
        raise ConfigError(
            "give a recall, a run recall or a keep ratio, above 0 and at most 1; got "
            f"{given or 'none'}"
        )
    return given[0]


def measures(frames: ScoredFrames, threshold: float) -> dict[str, float]:
    """Compare the frames kept with the teacher's runs.

    Args:
        frames: The validation set.
        threshold: Log-odds from which a frame is kept.

    Returns:
        ``recall`` and ``precision`` of salient frames; ``run_recall``, and
        ``token_run_recall`` of the runs that are not of blanks; ``keep_ratio``.
    """
    kept, found = frames.scores >= threshold, frames.best >= threshold
    hits = float((kept & frames.targets).sum())
    return {
        "recall": hits / max(1, int(frames.targets.sum())),
        "precision": hits / max(1, int(kept.sum())),
        "run_recall": float(found.double().mean()),
        "token_run_recall": float((found & frames.of_tokens).sum())
        / max(1, int(frames.of_tokens.sum())),
        "keep_ratio": float(kept.double().mean()),
    }


def chance(frames: ScoredFrames, keep_ratio: float) -> dict[str, float]:
    """Expect of frames kept by chance what :func:`measures` says of runs.

    Args:
        frames: The validation set.
        keep_ratio: Probability of each frame to be kept, r; a run of n frames is then found with
            probability 1 - (1 - r)^n.

    Returns:
        ``run_recall`` and ``token_run_recall``.
    """
    found = 1 - (1 - keep_ratio) ** frames.runs.bincount().double()
    tokens = found[frames.of_tokens]
    return {
        "run_recall": float(found.mean()),
        "token_run_recall": float(tokens.sum()) / max(1, len(tokens)),
    }


def report(frames: ScoredFrames, threshold: float, at_most: bool = False) -> dict[str, Any]:
    """Return what is stored, and what it does.

    Args:
        frames: The validation set.
        threshold: Result of :func:`choose_threshold`.
        at_most: Whether it was chosen by the frames kept.

    Returns:
        The threshold as a probability; the measures at it and at others, and those of the
        teacher's runs.

    Raises:
        DataError: If it cannot be stored, see :func:`as_probability`.
    """
    stored = as_probability(frames, threshold, at_most)
    curve = [{"threshold": p, **measures(frames, log_odds(p))} for p in CURVE]
    at_threshold = measures(frames, log_odds(stored))
    return {
        "threshold": stored,
        **at_threshold,
        "by_chance": chance(frames, at_threshold["keep_ratio"]),
        "frames": len(frames.scores),
        "runs": len(frames.best),
        "token_runs": int(frames.of_tokens.sum()),
        "teacher_keep_ratio": float(frames.targets.double().mean()),
        "curve": curve,
    }
