"""What a training cost, in block-updates, with the trainings that it started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.tasks.loading import find_file, read_config
from espnet2_supernet.train.checkpoint import load_weights

FORWARD_SHARE = 1 / 3  # of forward and backward: backward computes two products for each of forward


@dataclass(frozen=True)
class TrainingCost:
    """Block-updates: one block's forward and backward pass over one batch is 1.

    Attributes:
        own: Of this training; a teacher's forward pass counts a third of its blocks.
        chain: With the trainings of its teacher and of what it started from, each counted once.
        batches: Batches seen.
    """

    own: float
    chain: float
    batches: int


def training_cost(expdir: str | Path) -> TrainingCost:
    """Count what an experiment cost.

    Args:
        expdir: Folder of ``asr_train`` or ``encrl_train``, with ``config.yaml`` and
            ``latest.pth``.

    Raises:
        ConfigError: If its configuration cannot be read.
        CheckpointError: If its weights, or those of a training before it, are missing.
    """
    costs: dict[Path, float] = {}
    batches = _add(Path(expdir), costs)
    own = costs[Path(expdir).resolve()]
    return TrainingCost(own, sum(costs.values()), batches)


def _add(expdir: Path, costs: dict[Path, float]) -> int:
    """Add the cost of a training and of those before it, by folder; return its batches."""
    path, options = read_config(None, expdir / "latest.pth")
    states = load_weights(expdir / "latest.pth")
    if "num_batches" not in states:
        raise CheckpointError(f"{expdir}/latest.pth: not a training of a supernet")
    batches, blocks = int(states["num_batches"]), layers_in_step(options)
    for option in ("teacher_model_file", "init_model_file"):
        if not options.get(option):
            continue
        file = Path(find_file(options[option], path) or "")
        if not file.is_file():
            raise CheckpointError(f"{path}: {option}: {file}: no such file")
        if option.startswith("teacher"):
            blocks += FORWARD_SHARE * _teacher_layers(file, options.get("teacher_subnet"))
        if file.parent.resolve() not in costs:
            _add(file.parent, costs)
    costs[expdir.resolve()] = batches * blocks
    return batches


def layers_in_step(options: Mapping[str, Any]) -> float:
    """Count the blocks that a training step runs on average, over all subnets drawn for it.

    Args:
        options: Content of ``config.yaml``.

    Raises:
        ConfigError: If the table of subnets cannot be read.

    Example:
        >>> rows = {"server": {}, "half": {"depth": 3}}
        >>> options = {"encoder_conf": {"num_blocks": 6}, "supernet_conf": {"subnets": rows}}
        >>> layers_in_step(options)
        9.0
    """
    config = SupernetConfig.parse(options.get("supernet_conf"))
    conf = options.get("encoder_conf") or {}
    kept, total = 1.0 - float(conf.get("layerdrop", 0.0)), 0.0
    others = [n for n in config.subnets if n not in config.sampling.always]
    others = [name for name in others if name not in config.sampling.by_layerdrop]
    for name in (*config.sampling.always, *others):
        share = 1.0 if name in config.sampling.always else config.sampling.extra / len(others)
        total += share * kept * _layers(options, config, name)
    return total


def _layers(options: Mapping[str, Any], config: SupernetConfig, name: str) -> int:
    depth = config.subnets[name].depth
    num_blocks = (options.get("encoder_conf") or {}).get("num_blocks", 12)
    return int(num_blocks) if depth is None else depth.layers


def _teacher_layers(file: Path, subnet: str | None) -> int:
    _, options = read_config(None, file)
    config = SupernetConfig.parse(options.get("supernet_conf"))
    name = subnet or next(iter(config.subnets))
    if name not in config.subnets:
        raise ConfigError(f"{file}: its table has no subnet '{name}'")
    return _layers(options, config, name)
