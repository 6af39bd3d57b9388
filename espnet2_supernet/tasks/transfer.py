"""From pre-training to recognition: what is taken over, and what must fit."""

from __future__ import annotations

import argparse
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.train.class_choices import ClassChoices

from espnet2_supernet.asr.heads import with_own_heads
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.tasks import loading
from espnet2_supernet.train.checkpoint import load_weights

MASK_CHOICES = ("reset", "carry", "freeze")
# Parts of a pre-trained model; only the first three mean something to a recogniser.
_TAKEN = ("encoder.", "normalize.", "frontend.")
_DROPPED = ("heads.", "pruner.", "num_batches")
# Options of training alone: they may differ.
_RATES = ("dropout_rate", "layerdrop")
_MASK_KEYS = ("pattern", "sparsity", "include", "exclude")


def check_pretraining(args: argparse.Namespace, tables: list[ClassChoices]) -> None:
    """Check that a recogniser can start from the pre-trained model that its options name.

    Args:
        args: Training options with ``ssl_model_file``, ``ssl_masks`` and ``ssl_blocks``.
        tables: ESPnet's class tables, for the default values of their options.

    Raises:
        ConfigError: If the masks cannot be taken over under the schedule, or so many blocks.
        CheckpointError: If files are missing, or the configurations differ, naming every key.
    """
    where = args.ssl_model_file
    if not Path(where).is_file():
        raise CheckpointError(f"ssl_model_file: {where}: no such file; run ssl_train first")
    _, options = loading.read_config(None, where, loading.NEEDED_OPTIONS)
    differing = differing_options(options, vars(args), tables)
    pretrained = SupernetConfig.parse(options.get("supernet_conf"))
    config = SupernetConfig.parse(
        args.supernet_conf or (args.model_conf or {}).get("supernet_conf")
    )
    differing += differing_tables(pretrained, config, args.ssl_masks)
    if differing:
        raise CheckpointError(
            f"{where}: was pre-trained with another configuration: {'; '.join(differing)}. Make "
            "the two configurations equal there, or pre-train again"
        )
    _check_schedule(config, args.ssl_masks)
    _check_blocks(args.ssl_blocks, args.ssl_masks)


def take_over(args: argparse.Namespace, model: torch.nn.Module) -> None:
    """Copy the pre-trained encoder and normalisation into a new recogniser, in place.

    The quantiser, the projections and the positions in pruning schedule and batches are dropped:
    they have no meaning in recognition. With ``ssl_masks: reset`` the masks are dropped, too, and
    with ``ssl_blocks`` all blocks but the first so many: the upper ones of a pre-trained encoder
    are bent to its own targets, and starting them anew helped where labels are few (Pasad et al.,
    arXiv 2107.04734).

    Args:
        args: Training options with ``ssl_model_file``, ``ssl_masks`` and ``ssl_blocks``.
        model: The recogniser.

    Raises:
        ConfigError: If the encoder has no so many blocks.
        CheckpointError: If the weights do not fit, or frozen masks are not sparse enough.
    """
    where = args.ssl_model_file
    states = load_weights(where)
    foreign = [key for key in states if not key.startswith((*_TAKEN, *_DROPPED))]
    if foreign:
        raise CheckpointError(f"{where}: '{foreign[0]}' does not belong to a pre-trained model")
    taken = {key: value for key, value in states.items() if key.startswith(_TAKEN)}
    if args.ssl_masks == "reset":
        taken = {key: value for key, value in taken.items() if value.dtype != torch.bool}
    own = {key: value for key, value in model.state_dict().items() if key.startswith(_TAKEN)}
    anew = _upper_blocks(model, args.ssl_blocks)
    taken, own = (
        {key: value for key, value in states.items() if not key.startswith(anew)}
        for states in (taken, own)
    )
    taken, _ = with_own_heads(taken, own)
    wanted = {k for k, v in own.items() if args.ssl_masks != "reset" or v.dtype != torch.bool}
    for name, keys in (("missing", wanted - taken.keys()), ("unexpected", taken.keys() - wanted)):
        if keys:
            raise CheckpointError(f"{where}: {len(keys)} {name} keys ({min(keys)}, ...)")
    model.load_state_dict(taken, strict=False)
    dropped = sorted({key.split(".")[0] for key in states if not key.startswith(_TAKEN)})
    dropped += ["the masks"] if args.ssl_masks == "reset" else []
    dropped += [f"the blocks above the first {args.ssl_blocks}"] if anew else []
    logging.info(f"{where}: took {len(taken)} tensors over, dropped {', '.join(dropped)}")
    if args.ssl_masks == "freeze":
        _check_sparsity(model, where)


def differing_options(
    pretrained: Mapping[str, Any],
    given: Mapping[str, Any],
    tables: list[ClassChoices],
    may_differ: tuple[str, ...] = (),
) -> list[str]:
    """Describe every option that changes what the encoder's weights mean.

    Args:
        pretrained: Options of the trained model.
        given: Options of the new one.
        tables: ESPnet's class tables, for the default values of their options.
        may_differ: Keys that are left out; dropout always is.
    """
    differing = []
    for name in ("frontend", "normalize", "encoder"):
        if pretrained.get(name) != given.get(name):
            differing.append(f"{name} was {pretrained.get(name)}, is {given.get(name)}")
    choices = {table.name: table for table in tables}
    for name in ("frontend", "encoder"):
        class_ = choices[name].get_class(given[name])
        before = completed(class_, pretrained.get(f"{name}_conf"))
        after = completed(class_, given.get(f"{name}_conf"))
        for key in sorted(before.keys() | after.keys()):
            if key in may_differ or key.endswith(_RATES):
                continue
            if before.get(key) != after.get(key):
                differing.append(f"{name}_conf.{key} was {before.get(key)}, is {after.get(key)}")
    return differing


def completed(class_: type, conf: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a block with the default values of what it leaves out."""
    parameters = inspect.signature(class_).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return defaults | dict(conf or {})


def differing_tables(
    pretrained: SupernetConfig, config: SupernetConfig, ssl_masks: str
) -> list[str]:
    """Describe what differs in the tables of subnets, as far as weights or masks depend on it."""
    differing = []
    if pretrained.layer_norm != config.layer_norm:
        before, after = pretrained.layer_norm, config.layer_norm
        differing.append(f"supernet_conf.layer_norm was {before}, is {after}")
    elif config.layer_norm == "per_subnet" and list(pretrained.subnets) != list(config.subnets):
        before_names, after_names = ", ".join(pretrained.subnets), ", ".join(config.subnets)
        differing.append(f"supernet_conf.subnets were {before_names}, are {after_names}")
    if ssl_masks == "reset":
        return differing
    left, right = _masks(pretrained), _masks(config)
    for name in sorted(left.keys() | right.keys()):
        before_mask, after_mask = left.get(name, {}), right.get(name, {})
        for key in _MASK_KEYS:
            if before_mask.get(key) != after_mask.get(key):
                differing.append(
                    f"supernet_conf.subnets.{name}.mask.{key} was {before_mask.get(key)}, "
                    f"is {after_mask.get(key)}"
                )
    return differing


def _masks(config: SupernetConfig) -> dict[str, dict[str, Any]]:
    """Return the declaration of every mask by name."""
    subnets = config.subnets.values()
    return {s.mask_name: s.mask.to_dict() for s in subnets if s.mask and s.mask_name}


def _check_schedule(config: SupernetConfig, ssl_masks: str) -> None:
    """Refuse a schedule that would undo what is taken over.

    Raises:
        ConfigError: If a carried sparsity would start again, or frozen masks would be estimated.
    """
    if not _masks(config) or ssl_masks == "reset":
        return
    schedule = config.schedule
    if ssl_masks == "carry" and schedule.kind == "cubic" and schedule.initial < 1:
        raise ConfigError(
            "ssl_masks: carry keeps the sparsity of pre-training, but supernet_conf.schedule is "
            f"cubic and starts at {schedule.initial:g} of it: use kind: constant, or initial: "
            "1.0, or ssl_masks: reset"
        )
    if ssl_masks == "carry" and schedule.kind == "l0":
        raise ConfigError("ssl_masks: carry keeps masks, but schedule l0 starts from open gates")
    if ssl_masks == "freeze" and not schedule.freeze:
        raise ConfigError("ssl_masks: freeze contradicts supernet_conf.schedule.freeze: false")


def _check_blocks(ssl_blocks: int | None, ssl_masks: str) -> None:
    """Refuse to keep the masks of blocks that begin anew.

    Raises:
        ConfigError: If that is wanted.
    """
    if ssl_blocks is not None and ssl_masks != "reset":
        raise ConfigError(
            f"ssl_masks: {ssl_masks} keeps the masks of all blocks, but ssl_blocks: {ssl_blocks} "
            "starts some anew: use ssl_masks: reset"
        )


def _upper_blocks(model: torch.nn.Module, ssl_blocks: int | None) -> tuple[str, ...]:
    """Return how the names of weights begin that start anew.

    Raises:
        ConfigError: If there are no so many blocks.
    """
    if ssl_blocks is None:
        return ()
    encoder: Any = model.encoder
    count = len(encoder.blocks)
    if not 1 <= ssl_blocks <= count:
        raise ConfigError(f"ssl_blocks: the encoder has {count} blocks, got {ssl_blocks}")
    return tuple(f"encoder.blocks.{i}." for i in range(ssl_blocks, count))


def _check_sparsity(model: torch.nn.Module, where: str) -> None:
    """Refuse to freeze masks of a pre-training that ended before its pruning schedule.

    Raises:
        CheckpointError: Naming the mask.
    """
    pruner: Any = getattr(model, "pruner", None)
    for name, report in pruner.sparsity_report().items() if pruner is not None else ():
        wanted = pruner.specs[name].sparsity
        if report["prunable"] < wanted - 0.02:
            raise CheckpointError(
                f"{where}: mask '{name}' has sparsity {report['prunable']:.3f}, {wanted} is wanted "
                "and ssl_masks: freeze would keep it: take a later epoch of pre-training"
            )
