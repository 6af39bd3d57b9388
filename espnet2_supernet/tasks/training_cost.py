"""What a training cost, in block-updates, with the trainings that it started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.tasks.loading import NEEDED_OPTIONS, find_file, read_config
from espnet2_supernet.train.checkpoint import load_weights

FORWARD_SHARE = 1 / 3  # of forward and backward: backward computes two products for each of forward


@dataclass(frozen=True)
class TrainingCost:
    """Block-updates: one block's forward and backward pass over one batch is 1.

    Attributes:
        own: Of this training; a teacher's forward pass counts a third of its blocks.
        chain: With the trainings of its teacher and of what it started from, each counted once.
        batches: Batches seen.
        uncounted: Files that a training in the chain started from, beside which there is no
            training to count, such as a published model.
    """

    own: float
    chain: float
    batches: int
    uncounted: tuple[str, ...] = ()


def training_cost(expdir: str | Path) -> TrainingCost:
    """Count what an experiment cost.

    Args:
        expdir: Folder of ``asr_train``, ``encrl_train`` or ``ssl_train``, with ``config.yaml``
            and ``latest.pth``.

    Raises:
        ConfigError: If its configuration cannot be read.
        CheckpointError: If its weights, or a file that a training before it names, are missing.
    """
    chain = _Chain()
    batches = chain.add(Path(expdir))
    own = chain.costs[Path(expdir).resolve()]
    return TrainingCost(own, sum(chain.costs.values()), batches, tuple(chain.uncounted))


@dataclass
class _Chain:
    """A training and those before it, each once.

    Attributes:
        costs: Block-updates by folder.
        uncounted: Files that no training here has made.
    """

    costs: dict[Path, float] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)

    def add(self, expdir: Path) -> int:
        """Add a training and those before it; return its batches."""
        path, options = read_config(None, expdir / "latest.pth", NEEDED_OPTIONS)
        batches, blocks = _batches(expdir / "latest.pth"), layers_in_step(options)
        teacher = options.get("teacher_model_file")
        if teacher:
            file = _found(teacher, path, "teacher_model_file")
            blocks += FORWARD_SHARE * _teacher_layers(file, options.get("teacher_subnet"))
            self._add_maker(file)
        for option in ("init_model_file", "ssl_model_file"):
            if options.get(option):
                self._add_maker(_found(options[option], path, option))
        before = 0
        for init in options.get("init_param") or []:
            name, *parts = str(init).split(":")
            file = _found(name, path, "init_param")
            self._add_maker(file)
            before = _batches_taken(file, parts, before)
        self.costs[expdir.resolve()] = (batches - before) * blocks
        return batches - before

    def _add_maker(self, file: Path) -> None:
        """Add the training that made a file, or that it was extracted from."""
        for folder in (file.parent, file.parent.parent):  # stage 10: EXP/extracted_x/model.pth
            if (folder / "config.yaml").is_file() and (folder / "latest.pth").is_file():
                if folder.resolve() not in self.costs:
                    self.add(folder)
                return
        if str(file) not in self.uncounted:
            self.uncounted.append(str(file))


def _found(name: str, config: Path, option: str) -> Path:
    """Return the file that an option of a configuration names.

    Raises:
        CheckpointError: If there is none.
    """
    file = Path(find_file(name, config) or "")
    if not file.is_file():
        raise CheckpointError(
            f"{config}: {option}: {file}: no such file, and what "
            "it cost cannot be counted: put it back, or write where it is now into this config.yaml"
        )
    return file


def _batches(file: Path) -> int:
    """Return how many batches a model has seen.

    Raises:
        CheckpointError: If it is no supernet.
    """
    states = load_weights(file)
    if "num_batches" not in states:
        raise CheckpointError(f"{file}: not a training of a supernet")
    return int(states["num_batches"])


def _batches_taken(file: Path, parts: list[str], before: int) -> int:
    """Return where the count of batches stands after ESPnet's ``init_param`` was read.

    Args:
        file: Weights.
        parts: What follows them: source key, key of the new model, keys left out.
        before: The count until then.
    """
    source, target, left_out = [*parts, "", "", ""][:3]
    skipped = any("num_batches".startswith(key) for key in left_out.split(",") if key)
    if source or target or skipped:
        return before
    return int(load_weights(file).get("num_batches", before))


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
