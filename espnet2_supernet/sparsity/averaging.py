"""Average checkpoints without harming their masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.sparsity.pruner import Pruner

StateDict = dict[str, Any]


def average_state_dicts(
    states: Iterable[Mapping[str, Any]],
    allow_mask_change: bool = False,
    names: Sequence[object] = (),
) -> StateDict:
    """Average the weights of several checkpoints of one training.

    Floating-point tensors are averaged in float64 and returned in their own type. A mask is
    never averaged: it has to be the same in all checkpoints, which it is once it is frozen.
    Whole numbers (step counters) are taken from the last checkpoint.

    Args:
        states: State dicts, oldest first; read one by one, so a generator saves memory.
        allow_mask_change: Take masks that differ from the last checkpoint. They fit its weights,
            not the average: recompute them (see :func:`average_into`).
        names: What to call the checkpoints in messages, e.g. their files; "checkpoint 2" if empty.

    Returns:
        State dict that the same model loads.

    Raises:
        CheckpointError: If there is nothing to average, names or shapes differ, or masks differ.

    Example:
        >>> old = {"weight": torch.tensor([1.0]), "mask_device": torch.tensor([True])}
        >>> new = {"weight": torch.tensor([2.0]), "mask_device": torch.tensor([True])}
        >>> average_state_dicts([old, new])
        {'weight': tensor([1.5000]), 'mask_device': tensor([True])}
    """
    sums: StateDict = {}
    last: Mapping[str, Any] = {}
    count = 0
    for state in states:
        if count:
            name = f"{names[count]}" if names else f"checkpoint {count + 1}"
            _check_same(last, state, name, allow_mask_change)
        _add(sums, state)
        last = state
        count += 1
    if not count:
        raise CheckpointError("no checkpoint to average")
    return {
        key: (sums[key] / count).to(value.dtype) if key in sums else value
        for key, value in last.items()
    }


def average_into(
    model: nn.Module, states: Iterable[Mapping[str, Any]], names: Sequence[object] = ()
) -> StateDict:
    """Average checkpoints whose masks may still have been moving, and fit the masks again.

    Args:
        model: A model of the same configuration, with its :class:`Pruner`; it is left with the
            averaged weights.
        states: State dicts, oldest first.
        names: What to call the checkpoints in messages.

    Returns:
        The state dict of the averaged model. Frozen masks stay as they are; others are
        estimated from the averaged weights at the sparsity of the last checkpoint.

    Raises:
        CheckpointError: If the checkpoints do not fit each other or the model, or masks differ
            that do not follow from the weights.
    """
    pruners = [module for module in model.modules() if isinstance(module, Pruner)]
    may_change = bool(pruners) and all(one.schedule_spec.masks_follow_weights for one in pruners)
    model.load_state_dict(average_state_dicts(states, may_change, names))
    for pruner in pruners:
        pruner.recompute()
    return model.state_dict()


def _add(sums: StateDict, state: Mapping[str, Any]) -> None:
    """Add what is averaged of a checkpoint to the sums, in place and in a wide type."""
    for key, value in state.items():
        if _is_averaged(value):
            wide = value.detach().to(_wide(value))
            sums[key] = sums[key] + wide if key in sums else wide


def _is_averaged(value: Any) -> bool:
    return torch.is_tensor(value) and (value.is_floating_point() or value.is_complex())


def _wide(value: torch.Tensor) -> torch.dtype:
    return torch.complex128 if value.is_complex() else torch.float64


def _check_same(
    before: Mapping[str, Any], state: Mapping[str, Any], name: str, allow_mask_change: bool
) -> None:
    for key in before.keys() ^ state.keys():
        raise CheckpointError(
            f"{name} and the checkpoint before it differ in '{key}'; average only checkpoints "
            "of one configuration"
        )
    for key, value in state.items():
        if not torch.is_tensor(value):
            continue
        other = before[key]
        if value.shape != other.shape or value.dtype != other.dtype:
            raise CheckpointError(
                f"{name}, '{key}': {value.dtype} {tuple(value.shape)}, before it "
                f"{other.dtype} {tuple(other.shape)}; average only checkpoints of one configuration"
            )
        if value.dtype == torch.bool and not allow_mask_change and not torch.equal(value, other):
            raise CheckpointError(
                f"{name}, '{key}': the mask differs from the one before; average "
                "checkpoints from after the schedule's end, or recompute the masks "
                "(--asr_train_config), which prune_and_grow, l0 and rewind do not allow"
            )
