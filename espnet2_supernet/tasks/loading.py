"""Loads a trained model from its two files, from any folder, and strictly."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.train.checkpoint import load_strictly, load_weights

# Files that a configuration names relative to the folder of the recipe.
_FILE_OPTIONS = ("bpemodel", "non_linguistic_symbols")
NEEDED_OPTIONS = ("model_conf", "model", "encoder", "frontend", "normalize")
RECOGNISER_OPTIONS = (*NEEDED_OPTIONS, "token_list")


def read_config(
    config_file: str | Path | None,
    model_file: str | Path | None,
    needed: Sequence[str] = RECOGNISER_OPTIONS,
) -> tuple[Path, dict]:
    """Read the ``config.yaml`` of a model.

    Args:
        config_file: Path; beside the model file when None.
        model_file: Path of the weights, or None.
        needed: Options that it must have; by default those of a recogniser.

    Returns:
        The path and the options.

    Raises:
        ConfigError: If no file is given, or it is missing or not YAML.
    """
    if config_file is None:
        if model_file is None:
            raise ConfigError("give a config.yaml or a model file")
        config_file = Path(model_file).parent / "config.yaml"
    path = Path(config_file)
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(options, dict):
        raise ConfigError(f"{path}: not a config.yaml of a trained model")
    missing = [name for name in needed if name not in options]
    if missing:
        raise ConfigError(f"{path}: not a config.yaml of a trained model ('{missing[0]}' missing)")
    return path, options


def build_from_file(
    build_model: Callable[[argparse.Namespace], torch.nn.Module],
    config_file: str | Path | None,
    model_file: str | Path | None,
    device: str,
    needed: Sequence[str],
) -> tuple[torch.nn.Module, argparse.Namespace]:
    """Build a model and load its weights and masks; every key must fit.

    Files that the configuration names relative to the recipe are searched from the current
    folder, then from the folder of the configuration and its parents. Statistics of
    ``global_mvn`` that are not found are restored from the weights.

    Args:
        build_model: Builds the model from options.
        config_file: ``config.yaml``; beside the model file when None.
        model_file: Weights; None leaves the model initialised at random.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        needed: Options that the configuration must have.

    Returns:
        Model on the device, and its options (with paths as found).

    Raises:
        ConfigError: If the configuration cannot be used.
        CheckpointError: If the weights cannot be read or do not fit.
    """
    path, options = read_config(config_file, model_file, needed)
    states = None if model_file is None else load_weights(model_file)
    args = argparse.Namespace(**options)
    for name in _FILE_OPTIONS:
        setattr(args, name, find_file(getattr(args, name, None), path))
    with tempfile.TemporaryDirectory() as folder:
        _find_stats(args, path, states, Path(folder))
        model = build_model(args)
    if states is not None:
        assert model_file is not None
        load_strictly(model, states, model_file)
    # ESPnet's global_mvn starts in float64; training had cast it
    dtype = getattr(torch, getattr(args, "train_dtype", "float32"))
    return model.to(device=device, dtype=dtype), args


def find_file(name: str | None, config_path: Path) -> str | None:
    """Find a file named relative to a recipe, given where the recipe's model is.

    Args:
        name: Path from the configuration, or None.
        config_path: The configuration.

    Returns:
        A path that exists, or ``name`` unchanged.
    """
    if name is None or Path(name).exists():
        return name
    candidates = [folder / name for folder in config_path.resolve().parents]
    candidates.append(config_path.parent / Path(name).name)  # a model that was moved
    return next((str(path) for path in candidates if path.exists()), name)


def _find_stats(
    args: argparse.Namespace,
    config_path: Path,
    states: Mapping[str, torch.Tensor] | None,
    folder: Path,
) -> None:
    """Let ``normalize_conf`` name statistics that exist, written to a folder if need be."""
    conf = getattr(args, "normalize_conf", None) or {}
    stats_file = find_file(conf.get("stats_file"), config_path)
    if stats_file is None:
        return
    if not Path(stats_file).is_file():
        stats_file = _restore_stats(states, folder / "feats_stats.npz", stats_file)
    args.normalize_conf = {**conf, "stats_file": stats_file}


def _restore_stats(states: Mapping[str, torch.Tensor] | None, path: Path, wanted: str) -> str:
    """Write statistics that give back the mean and deviation stored with the weights.

    Raises:
        CheckpointError: If the weights hold none.
    """
    if states is None or "normalize.mean" not in states or "normalize.std" not in states:
        raise CheckpointError(
            f"{wanted}: no such file, and the model file holds no normalize.mean; run from the "
            "folder of the recipe, or copy the statistics beside config.yaml"
        )
    write_stats(states["normalize.mean"], states["normalize.std"], path)
    return str(path)


def write_stats(mean: torch.Tensor, std: torch.Tensor, path: str | Path) -> None:
    """Write statistics as ``global_mvn`` reads them.

    Args:
        mean: Mean of every feature (F,).
        std: Standard deviation (F,).
        path: ``.npz`` file with ``count``, ``sum`` and ``sum_square`` of one pretended frame.
    """
    mean64, std64 = (np.asarray(x.cpu(), dtype=np.float64) for x in (mean, std))
    np.savez(path, count=np.int64(1), sum=mean64, sum_square=std64**2 + mean64**2)
