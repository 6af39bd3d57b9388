"""Model and options to a search, and the mapping from encoder frames to what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from espnet2_supernet.decode.ctc import GreedyCTC
from espnet2_supernet.decode.ctc_beam import PrefixBeamCTC
from espnet2_supernet.decode.hypothesis import SearchHypothesis
from espnet2_supernet.decode.lm import FusionLM
from espnet2_supernet.decode.options import DecodeOptions
from espnet2_supernet.decode.predictor import TransducerHead
from espnet2_supernet.decode.rnnt import GreedyRNNT
from espnet2_supernet.decode.rnnt_beam import BeamRNNT
from espnet2_supernet.errors import ConfigError


class Search(Protocol):
    """A search that reads encoder frames (or their log-probabilities) piece by piece.

    A state has ``transcript`` (committed tokens) and ``frame`` (frames seen).
    """

    def init_state(self) -> Any:
        """Return the state before the first frame."""
        ...

    def advance(self, state: Any, frames: torch.Tensor) -> None:
        """Take the next frames ``(n, V)`` (CTC) or ``(n, D)`` (RNN-T); changes ``state``."""
        ...

    def pending(self, state: Any) -> tuple[list[int], list[int]]:
        """Return tokens that may still change, and their frames."""
        ...

    def nbest(self, state: Any, count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses, best first."""
        ...


def choose_output(model: Any, use: str) -> str:
    """Return ``ctc`` or ``rnnt``.

    Args:
        model: A ``SupernetASRModel``.
        use: ``ctc``, ``rnnt`` or ``auto``.

    Raises:
        ConfigError: If the model has no such output layer.
    """
    has_rnnt = model.joint_network is not None and model.predictor is not None
    if use == "auto":
        use = "rnnt" if has_rnnt else "ctc"
    if use == "rnnt" and not has_rnnt:
        raise ConfigError("use: rnnt: the model was trained without an RNN-T; take use: ctc")
    if use == "ctc" and model.ctc is None:
        raise ConfigError("use: ctc: the model was trained without CTC; take use: rnnt")
    return use


def build_search(
    model: Any, options: DecodeOptions, lm: FusionLM | None = None
) -> tuple[Search, Callable[[torch.Tensor], torch.Tensor]]:
    """Build the search of ``options`` over a model.

    Args:
        model: A ``SupernetASRModel``.
        options: What to search with.
        lm: Language model for shallow fusion.

    Returns:
        The search, and the function from encoder outputs ``(n, D)`` to what it reads.

    Raises:
        ConfigError: If the model lacks the output layer.
    """
    fusion: dict[str, Any] = {
        "lm": lm,
        "lm_weight": options.lm_weight,
        "length_bonus": options.length_bonus,
    }
    if choose_output(model, options.use) == "ctc":
        search: Search = GreedyCTC(model.blank_id)
        if options.search == "beam":
            search = PrefixBeamCTC(options.beam_size, blank_id=model.blank_id, **fusion)
        return search, lambda frames: model.ctc.log_softmax(frames[None])[0]
    head = TransducerHead(model.predictor, model.joint_network, model.blank_id)
    if options.search == "greedy":
        return GreedyRNNT(head, options.max_symbols or 10), _identity
    return BeamRNNT(head, options.beam_size, options.max_symbols or 3, **fusion), _identity


def _identity(frames: torch.Tensor) -> torch.Tensor:
    return frames
