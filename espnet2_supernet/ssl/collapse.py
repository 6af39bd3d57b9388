"""Tells when the codes have collapsed: the loss then falls to zero and nothing is learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# A healthy codebook uses a good part of its entries; below these it is of no use (our choice).
MIN_PERPLEXITY = 1.5
MIN_LOSS = 1e-3


def collapse_warnings(
    stats: Mapping[str, Any], subnets: Sequence[str], latent_vars: int
) -> list[str]:
    """Judge the statistics of one validation.

    Without any masked frame there is nothing to judge: that, and nothing else, is then said.

    Args:
        stats: ``code_perplexity_<g>`` of every codebook, ``loss_<subnet>`` of every subnet,
            ``masked``, the fraction of frames that were masked.
        subnets: Names of the subnets.
        latent_vars: Entries of a codebook.

    Returns:
        One message for each codebook with a code perplexity below ``MIN_PERPLEXITY``, and for each
        subnet whose contrastive loss is below ``MIN_LOSS`` or not a number.

    Example:
        >>> stats = {"code_perplexity_0": 1.0, "code_perplexity_1": 80.0, "loss_server": 2.5}
        >>> collapse_warnings(stats, ["server"], 320)
        ['codebook 0 has collapsed: code perplexity 1.0 of 320. Raise model_conf.loss_weights[0] \
or lower the learning rate; this run will not recover by itself']
    """
    if float(stats.get("masked", 1.0)) == 0:
        return [
            "no frame of the validation set was masked, so that nothing can be said of this epoch: "
            "take longer utterances, or a smaller model_conf.mask_length"
        ]
    losses = {name: float(stats.get(f"loss_{name}", math.inf)) for name in subnets}
    return [
        f"codebook {key.rsplit('_', 1)[1]} has collapsed: code perplexity {float(value):.1f} of "
        f"{latent_vars}. Raise model_conf.loss_weights[0] or lower the learning rate; this run "
        "will not recover by itself"
        for key, value in stats.items()
        if key.startswith("code_perplexity_") and not float(value) >= MIN_PERPLEXITY
    ] + [
        f"the contrastive loss of subnet '{name}' is {loss:.2g}: its targets have collapsed, or "
        "can be told apart without listening"
        for name, loss in losses.items()
        if not loss >= MIN_LOSS
    ]
