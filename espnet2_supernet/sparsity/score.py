"""Scores: how important each single weight is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from espnet2_supernet.errors import ConfigError

ScoreFunction = Callable[[torch.Tensor, "torch.Tensor | None"], torch.Tensor]


@dataclass(frozen=True)
class Score:
    """A named rule that gives every weight an importance; the least important go first.

    Attributes:
        name: Name in the configuration.
        function: Takes the weight (out, in) and the sum of ``|gradient|`` (out, in) since the
            last mask update, or ``None``; returns scores (out, in), at least 0.
        needs_gradient: Whether the pruner has to sum up gradients.
    """

    name: str
    function: ScoreFunction
    needs_gradient: bool = False

    def __call__(self, weight: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
        """Return the scores, float32 (out, in)."""
        return self.function(weight.detach().float(), gradient)


def _magnitude(weight: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    return weight.abs()


def _gradient(weight: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None
    return gradient


def _taylor(weight: torch.Tensor, gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None
    return weight.abs() * gradient


_SCORES: dict[str, Score] = {}


def register_score(name: str, function: ScoreFunction, needs_gradient: bool = False) -> None:
    """Make a score available to configurations.

    Args:
        name: Name in the configuration.
        function: See :class:`Score`.
        needs_gradient: Whether it uses its second argument.

    Raises:
        ConfigError: If the name is taken.
    """
    if name in _SCORES:
        raise ConfigError(f"score '{name}' exists already")
    _SCORES[name] = Score(name, function, needs_gradient)


def get_score(name: str, where: str = "score") -> Score:
    """Look a score up.

    ``magnitude`` is ``|w|`` (Zhu & Gupta, arXiv 1710.01878). ``gradient`` is the summed
    ``|dL/dw|``, which also scores pruned weights, since the dense pass reaches them. ``taylor``
    is ``|w| * sum |dL/dw|``, near the first-order change of the loss (after Molchanov et al.,
    arXiv 1906.10771; the sum of absolutes is our choice).

    Raises:
        ConfigError: If there is no such score.
    """
    if not isinstance(name, str) or name not in _SCORES:
        raise ConfigError(f"{where}: unknown score '{name}'; there are: {', '.join(_SCORES)}")
    return _SCORES[name]


register_score("magnitude", _magnitude)
register_score("gradient", _gradient, needs_gradient=True)
register_score("taylor", _taylor, needs_gradient=True)
