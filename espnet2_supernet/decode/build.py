"""Model and options to a search, and the mapping from encoder frames to what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from espnet2_supernet.decode.lm import FusionLM
from espnet2_supernet.decode.options import DecodeOptions
from espnet2_supernet.decode.predictor import TransducerHead
from espnet2_supernet.runtime.search import build
from espnet2_supernet.runtime.search.interfaces import Search


def choose_output(model: Any, use: str) -> str:
    """Return ``ctc`` or ``rnnt``.

    Args:
        model: A ``SupernetASRModel``.
        use: ``ctc``, ``rnnt`` or ``auto``.

    Raises:
        ConfigError: If the model has no such output layer.
    """
    has_rnnt = model.joint_network is not None and model.predictor is not None
    return build.choose_output(use, model.ctc is not None, has_rnnt)


def build_search(
    model: Any, subnet: str, options: DecodeOptions, lm: FusionLM | None = None
) -> tuple[Search, Callable[[torch.Tensor], torch.Tensor | np.ndarray]]:
    """Build the search of ``options`` over a subnet of a model.

    Args:
        model: A ``SupernetASRModel``.
        subnet: The subnet.
        options: What to search with.
        lm: Language model for shallow fusion.

    Returns:
        The search, and the function from encoder outputs ``(n, D)`` to what it reads.

    Raises:
        ConfigError: If the model lacks the output layer.
    """
    if choose_output(model, options.use) == "ctc":
        search = build.ctc_search(options, model.blank_id, lm, options.lm_weight)
        ctc = model.ctc_of(subnet)
        return search, lambda frames: _log_probs(ctc, frames)
    head = TransducerHead(model.predictor, model.joint_network, model.blank_id)
    return build.rnnt_search(options, head, lm, options.lm_weight), _identity


def _log_probs(ctc: Any, frames: torch.Tensor) -> np.ndarray:
    """Map encoder outputs ``(n, D)`` to natural log-probabilities ``(n, V)`` in float64."""
    return ctc.log_softmax(frames[None])[0].detach().to("cpu", torch.float64).numpy()


def _identity(frames: torch.Tensor) -> torch.Tensor:
    return frames
