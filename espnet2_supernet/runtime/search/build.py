"""Options to a search."""

from __future__ import annotations

from typing import Any

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.search.ctc import GreedyCTC
from espnet2_supernet.runtime.search.ctc_beam import PrefixBeamCTC
from espnet2_supernet.runtime.search.interfaces import LanguageModel, Search, Transducer
from espnet2_supernet.runtime.search.options import SearchOptions
from espnet2_supernet.runtime.search.rnnt import GreedyRNNT
from espnet2_supernet.runtime.search.rnnt_beam import BeamRNNT


def choose_output(use: str, has_ctc: bool, has_rnnt: bool) -> str:
    """Return ``ctc`` or ``rnnt``.

    Args:
        use: ``ctc``, ``rnnt`` or ``auto``.
        has_ctc: Whether there is a CTC head.
        has_rnnt: Whether there are a predictor and a joint network.

    Raises:
        ConfigError: If the model has no such output layer.
    """
    if use == "auto":
        use = "rnnt" if has_rnnt else "ctc"
    if use == "rnnt" and not has_rnnt:
        raise ConfigError("use: rnnt: the model was trained without an RNN-T; take use: ctc")
    if use == "ctc" and not has_ctc:
        raise ConfigError("use: ctc: the model was trained without CTC; take use: rnnt")
    return use


def ctc_search(
    options: SearchOptions, blank_id: int, lm: LanguageModel | None = None, lm_weight: float = 0.0
) -> Search:
    """Return the search over CTC log-probabilities.

    Args:
        options: What to search with.
        blank_id: Index of blank.
        lm: Language model for shallow fusion.
        lm_weight: Its weight.
    """
    if options.search == "greedy":
        return GreedyCTC(blank_id)
    return PrefixBeamCTC(
        options.beam_size, lm, lm_weight, blank_id=blank_id, length_bonus=options.length_bonus
    )


def rnnt_search(
    options: SearchOptions,
    head: Transducer,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.0,
) -> Search:
    """Return the search over encoder frames with an RNN-T; arguments as :func:`ctc_search`."""
    if options.search == "greedy":
        return GreedyRNNT(head, options.max_symbols or 10)
    fusion: dict[str, Any] = {"lm": lm, "lm_weight": lm_weight}
    return BeamRNNT(
        head,
        options.beam_size,
        options.max_symbols or 3,
        length_bonus=options.length_bonus,
        **fusion,
    )
