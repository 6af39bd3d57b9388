"""Checkpoints that survive a kill, a full disk and a changed configuration (our choice)."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.errors import CheckpointError

# Options that decide which tensors a model has and what they mean.
MODEL_KEYS = (
    "token_list",
    "input_size",
    "frontend",
    "frontend_conf",
    "normalize",
    "preencoder",
    "preencoder_conf",
    "encoder",
    "encoder_conf",
    "postencoder",
    "postencoder_conf",
    "decoder",
    "decoder_conf",
    "ctc_conf",
    "model",
    "model_conf",
    "supernet_conf",
    "teacher_subnet",
    "teacher_sha256",
    "asr_model_file",
)
_LOAD_ERRORS = (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, ValueError)
_FOREIGN = "the checkpoint belongs to another configuration"


def atomic_save(obj: object, path: str | Path) -> None:
    """Write a torch file completely or not at all.

    The file is written beside its destination, flushed to the disk and renamed, so that a reader
    never sees half a file and a failure leaves the previous file as it was.

    Args:
        obj: Anything ``torch.save`` takes.
        path: Destination.

    Raises:
        CheckpointError: If the file cannot be written (disk full, no permission, ...).
    """
    path = Path(path)
    try:
        with atomic_path(path, durable=True) as temporary, open(temporary, "wb") as file:
            torch.save(obj, file)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns OSError into RuntimeError
        kept = "the previous file is intact" if path.exists() else "nothing was written"
        reason = _root_cause(error)
        raise CheckpointError(
            f"{path}: cannot write the checkpoint ({reason}); {kept}. "
            "Free some space or mend the folder, then resume"
        ) from error


def _root_cause(error: BaseException) -> str:
    """Return the first operating-system reason in a chain of exceptions."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, OSError) and current.errno is not None:
            return "disk full" if current.errno == errno.ENOSPC else os.strerror(current.errno)
        current = current.__cause__ or current.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def replace_link(link: Path, target: str) -> None:
    """Point a symbolic link at ``target`` (a name in the same folder), atomically.

    Raises:
        CheckpointError: If the link cannot be made.
    """
    temporary = link.with_name(f".{link.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        os.replace(temporary, link)
    except OSError as error:
        raise CheckpointError(f"{link}: cannot link to {target} ({error.strerror})") from error


def load_weights(path: str | Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Read a file of weights; nothing but tensors is unpickled.

    Args:
        path: ``Nepoch.pth`` or an average of such files.
        device: Where to put the tensors.

    Returns:
        State dict.

    Raises:
        CheckpointError: If the file is missing, truncated or not a state dict.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such model file")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the model file is empty; take another epoch")
    if device == "cuda":
        device = f"cuda:{torch.cuda.current_device()}"
    try:
        states = torch.load(path, map_location=device, weights_only=True)
    except _LOAD_ERRORS as error:
        raise CheckpointError(
            f"{path}: not a readable model file ({_first_line(error)}). Give <N>epoch.pth or "
            "valid.*.pth, not checkpoint.pth; if it is one of these, the file is damaged"
        ) from error
    if not isinstance(states, dict) or not states:
        raise CheckpointError(f"{path}: holds no weights")
    wrong = [key for key, value in states.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise CheckpointError(f"{path}: '{wrong[0]}' is not a tensor; not a model file")
    return states


def _first_line(error: BaseException) -> str:
    """Return the first sentence of an error message, shortened."""
    text = str(error).splitlines()[0].split(". ")[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:120]}"


def load_strictly(
    model: torch.nn.Module, states: Mapping[str, torch.Tensor], path: str | Path
) -> None:
    """Load weights and masks; every key must fit.

    Args:
        model: Freshly built model.
        states: State dict.
        path: Where it came from, for messages.

    Raises:
        CheckpointError: If a key is missing or unexpected, or a shape or a dtype differs.
    """
    own = model.state_dict()
    for name, keys in (
        ("missing", own.keys() - states.keys()),
        ("unexpected", states.keys() - own.keys()),
    ):
        if keys:
            shown = ", ".join(sorted(keys)[:3])
            raise CheckpointError(f"{path}: {len(keys)} {name} keys ({shown}, ...); {_FOREIGN}")
    for key, value in own.items():
        _check_fits(key, states[key], value, path)
    try:
        model.load_state_dict(states, strict=True)
        pruner = getattr(model, "pruner", None)
        if pruner is not None:
            pruner.check_masks()
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: {str(error)[:300]}; {_FOREIGN}") from error


def _check_fits(key: str, given: torch.Tensor, wanted: torch.Tensor, path: str | Path) -> None:
    """Refuse a tensor of another shape, or numbers where a mask must be.

    Raises:
        CheckpointError: Naming the key.
    """
    if given.shape != wanted.shape:
        raise CheckpointError(
            f"{path}: '{key}' is {tuple(given.shape)}, the configuration wants "
            f"{tuple(wanted.shape)}; {_FOREIGN}"
        )
    if (given.dtype == torch.bool) != (wanted.dtype == torch.bool):
        raise CheckpointError(
            f"{path}: '{key}' is {given.dtype}, must be {wanted.dtype}; a mask that is not "
            "boolean was damaged by an average of checkpoints"
        )


def check_same_model(old: Mapping[str, Any], new: Mapping[str, Any], where: str | Path) -> None:
    """Refuse to resume a model of another configuration.

    Args:
        old: Configuration stored beside the checkpoint.
        new: Configuration of this run, after the model was built.
        where: Folder of the checkpoint.

    Raises:
        CheckpointError: Naming the first option that differs.
    """
    for key in MODEL_KEYS:
        before, after = _plain(old.get(key)), _plain(new.get(key))
        if before == after or (not before and not after):
            continue
        name, left, right = _first_difference(key, before, after)
        raise CheckpointError(
            f"{where}: the checkpoint there belongs to another configuration: {name} was {left}, "
            f"is {right}. Restore the option, or choose another --output_dir"
        )


def _plain(value: Any) -> Any:
    """Turn tuples into lists, as a YAML round trip does."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _first_difference(name: str, before: Any, after: Any) -> tuple[str, str, str]:
    """Descend into two nested configurations to the first option that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            if before.get(key) != after.get(key):
                return _first_difference(f"{name}.{key}", before.get(key), after.get(key))
    left, right = (str(value) for value in (before, after))
    return name, left[:80], right[:80]
