"""Finding the files of a model and rebuilding it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_supernet.errors import CheckpointError, ConfigError

FILE_KEYS = ("asr_train_config", "asr_model_file", "lm_train_config", "lm_file", "bpemodel")


# Named, not imported: tasks sit above this layer, and another task may be given.
TASK = "espnet2_supernet.tasks.asr.SupernetASRTask"


def load_model(
    config: str | Path, checkpoint: str | Path, device: str = "cpu", task: str = TASK
) -> tuple[Any, Any]:
    """Rebuild a model from its files.

    Args:
        config: ``config.yaml`` of the training.
        checkpoint: Weights and masks.
        device: ``cpu`` or ``cuda``.
        task: Dotted name of the task class that builds it.

    Returns:
        The model and the training arguments.

    Raises:
        CheckpointError: If a file is missing or does not fit the configuration.
        ConfigError: If the model is no supernet, or there is no such device.
    """
    for name, path in (("asr_train_config", config), ("asr_model_file", checkpoint)):
        if not Path(path).is_file():
            raise CheckpointError(f"{name}: no such file: {path}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device cuda: this machine has none; decode with --ngpu 0")
    module, _, name = task.rpartition(".")
    task_class = getattr(importlib.import_module(module), name)
    model, args = task_class.build_model_from_file(str(config), str(checkpoint), device)
    if not hasattr(model, "supernet"):
        raise ConfigError(f"{config}: the model is no supernet; decode it with ESPnet's own tool")
    return model, args


def packed_files(folder: Path) -> dict[str, Any]:
    """Find the files of an unpacked model.

    Args:
        folder: Has ``meta.yaml`` as written by ESPnet's ``pack``, or is an experiment folder
            with ``config.yaml`` and one ``valid.*.ave*.pth``.

    Returns:
        Arguments of ``Speech2Text``.

    Raises:
        CheckpointError: If the files are missing or ambiguous.
    """
    meta = folder / "meta.yaml"
    if not meta.is_file():
        return {
            "asr_train_config": folder / "config.yaml",
            "asr_model_file": _only_average(folder),
        }
    try:
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
        named = {**content.get("yaml_files", {}), **content.get("files", {})}
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{meta}: not the description of a packed model") from error
    files = {key: folder / named[key] for key in FILE_KEYS if key in named}
    for key in ("asr_train_config", "asr_model_file"):
        if key not in files:
            raise CheckpointError(f"{meta}: names no {key}")
    return files


def _only_average(folder: Path) -> Path:
    """Return the one averaged model of an experiment folder."""
    found = {path.resolve() for path in folder.glob("valid.*.ave*.pth")}
    if len(found) != 1:
        names = ", ".join(sorted(path.name for path in found)) or "none"
        raise CheckpointError(
            f"{folder}: has no meta.yaml, and one valid.*.ave*.pth is needed (found: {names}); "
            "give asr_train_config and asr_model_file"
        )
    return found.pop()


def fetch_packed(tag: str) -> dict[str, Any]:
    """Download a model by its ``espnet_model_zoo`` tag.

    Raises:
        ConfigError: If that package is not installed.
    """
    try:
        from espnet_model_zoo.downloader import ModelDownloader
    except ImportError as error:
        raise ConfigError(
            f"'{tag}' is no folder; to fetch it by tag: pip install espnet_model_zoo"
        ) from error
    return dict(ModelDownloader().download_and_unpack(tag))
