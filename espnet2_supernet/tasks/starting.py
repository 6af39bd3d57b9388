"""A small recogniser that starts from some blocks of a larger one."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from espnet2.train.class_choices import ClassChoices
from espnet2.utils.types import str_or_none

from espnet2_supernet.asr.heads import OWN_HEADS, with_own_heads
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.depth import KEEP, choose_layers
from espnet2_supernet.tasks import loading
from espnet2_supernet.tasks.transfer import differing_options, differing_tables
from espnet2_supernet.train.checkpoint import load_weights

_BODY = ("encoder.", "normalize.", "frontend.")  # must fit exactly
# Each is taken over where both have it
_HEADS = ("ctc.", OWN_HEADS, "predictor.", "joint_network.", "detector.")
_DROPPED = ("pruner.", "num_batches", "log_scale")
_BLOCKS = "encoder.blocks."


def add_start_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--init_model_file`` and ``--init_blocks``."""
    group = parser.add_argument_group("Start from a larger model")
    group.add_argument(
        "--init_model_file",
        type=str_or_none,
        default=None,
        help="Weights of asr_train or encrl_train with their config.yaml beside them: all but the "
        "blocks that are not chosen is taken over, and the masks are pruned anew; heads of their "
        "own that it does not have start from the shared one",
    )
    group.add_argument(
        "--init_blocks",
        choices=KEEP,
        default="last",
        help="Which of its encoder blocks become the blocks of this one; spread: every k-th, "
        "the last one among them",
    )


def check_start(args: argparse.Namespace, tables: list[ClassChoices]) -> None:
    """Check that a recogniser can start from the model that its options name.

    Args:
        args: Training options with ``init_model_file``.
        tables: ESPnet's class tables, for the default values of their options.

    Raises:
        ConfigError: If the model is also to start from pre-training.
        CheckpointError: If files are missing, or the configurations differ, naming every key.
    """
    where = args.init_model_file
    if getattr(args, "ssl_model_file", None):
        raise ConfigError("init_model_file and ssl_model_file: a model starts from one of them")
    if not Path(where).is_file():
        raise CheckpointError(f"init_model_file: {where}: no such file; train it first")
    _, options = loading.read_config(None, where)
    differing = differing_options(options, vars(args), tables, may_differ=("num_blocks",))
    before = SupernetConfig.parse(options.get("supernet_conf"))
    after = SupernetConfig.parse(args.supernet_conf or (args.model_conf or {}).get("supernet_conf"))
    differing += differing_tables(before, after, "reset")
    differing += differing_tokens(options["token_list"], args.token_list)
    if differing:
        raise CheckpointError(
            f"{where}: was trained with another configuration: {'; '.join(differing)}. Only "
            "encoder_conf.num_blocks and dropout may differ"
        )


def differing_tokens(before: Iterable[str], given: str | Iterable[str]) -> list[str]:
    """Describe the first difference of two lists of tokens.

    Args:
        before: Tokens of a trained model.
        given: Tokens, or the path of their file.
    """
    if isinstance(given, str):
        given = [line.rstrip() for line in Path(given).read_text("utf-8").splitlines()]
    for place, (left, right) in enumerate(zip_longest(before, given)):
        if left != right:
            return [f"token_list: token {place} was '{left}', is '{right}'"]
    return []


def take_blocks(args: argparse.Namespace, model: Any) -> None:
    """Copy the chosen blocks and all that is no block into a new recogniser, in place.

    Args:
        args: Training options with ``init_model_file`` and ``init_blocks``.
        model: The recogniser.

    Raises:
        CheckpointError: If there are too few blocks, or a tensor is missing, unexpected or of
            another shape.
    """
    where = args.init_model_file
    weights = load_weights(where)
    names = key_map(weights, model.encoder.blocks, args.init_blocks, where)
    own = {key: value for key, value in model.state_dict().items() if value.dtype != torch.bool}
    heads = {head for head in _HEADS if any(key.startswith(head) for key in own)}
    given = {head for head in _HEADS if any(key.startswith(head) for key in weights)}
    taken = (*_BODY, *(heads & given))
    states = {new: weights[old] for old, new in names.items() if new.startswith(taken)}
    states, copies = with_own_heads(states, own)
    wanted = {key for key in own if key.startswith(taken)} | copies
    for name, keys in (("missing", wanted - states.keys()), ("unexpected", states.keys() - wanted)):
        if keys:
            raise CheckpointError(f"{where}: {len(keys)} {name} keys ({min(keys)}, ...)")
    for key, value in states.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{where}: '{key}' is {tuple(value.shape)}, the configuration wants "
                f"{tuple(own[key].shape)}"
            )
    model.load_state_dict(states, strict=False)
    new = {head for head in heads - given if not any(key.startswith(head) for key in copies)}
    new_heads = ", ".join(head.rstrip(".") for head in sorted(new)) or "nothing"
    logging.info(f"{where}: took {len(states)} tensors over; initialised at random: {new_heads}")


def key_map(
    weights: Mapping[str, torch.Tensor], blocks: Any, rule: str, where: str
) -> dict[str, str]:
    """Say which tensor of a larger model becomes which of a smaller one.

    Args:
        weights: State dict of the larger model.
        blocks: Blocks of the smaller one, a :class:`LayerStack`.
        rule: See :func:`choose_layers`.
        where: File of the weights, for messages.

    Returns:
        Old name to new name; masks, counters and the other blocks are left out.

    Raises:
        CheckpointError: If there are too few blocks, or a tensor belongs to no recogniser.
    """
    ahead = len(blocks) - len(blocks.counted)  # what comes first and is no layer: positions
    # masks of whole layers belong to the stack, not to a block: "encoder.blocks.mask_<name>"
    numbered = [k for k, x in weights.items() if k.startswith(_BLOCKS) and x.dtype != torch.bool]
    places = {int(key.split(".")[2]) for key in numbered}
    try:
        chosen = choose_layers(rule, len(blocks.counted), len(places) - ahead)
    except ConfigError as error:
        raise CheckpointError(f"{where}: encoder_conf.num_blocks: {error}") from error
    sources = [*range(ahead), *(ahead + place for place in chosen)]
    names = {}
    for key, value in weights.items():
        if not key.startswith((*_BODY, *_HEADS, *_DROPPED)):
            raise CheckpointError(f"{where}: '{key}' does not belong to a recogniser")
        if value.dtype == torch.bool or key.startswith(_DROPPED):
            continue
        if not key.startswith(_BLOCKS):
            names[key] = key
            continue
        place, rest = key[len(_BLOCKS) :].split(".", 1)
        if int(place) in sources:
            names[key] = f"{_BLOCKS}{sources.index(int(place))}.{rest}"
    return names
