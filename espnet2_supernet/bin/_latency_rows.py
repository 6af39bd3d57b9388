"""The rows of the command ``latency``: what it measures, from its options."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.bin._options import read_yaml
from espnet2_supernet.bin._utterances import read_utterances
from espnet2_supernet.errors import ConfigError, check_keys
from espnet2_supernet.runtime.search.options import SearchOptions

if TYPE_CHECKING:
    from espnet2_supernet.measure.rows import RowSpec

# Full context cannot stream; int8 rows stand beside the streaming fp32 row.
STREAMING_KINDS = ("torch_fp32", "torch_int8", "openvino_int8")
FULL_KINDS = ("torch_fp32",)
CALIBRATION = 8  # utterances that give static quantisation its ranges


def search_options(args: Namespace) -> dict[str, Any]:
    """Return the settings of the search, those that a bundle knows, too.

    Raises:
        ConfigError: If the file cannot be read or has another key.
    """
    found: dict[str, Any] = {}
    if args.inference_config is not None:
        found = read_yaml(args.inference_config) or {}
        check_keys(found, SearchOptions.__dataclass_fields__, f"{args.inference_config}")
    given = {name: getattr(args, name) for name in ("search", "beam_size", "use")}
    return {**found, **{name: value for name, value in given.items() if value is not None}}


def row_specs(args: Namespace) -> list[RowSpec]:
    """Return the rows that the options ask for.

    Raises:
        ConfigError: If a folder holds no model, or the models have other tokens.
    """
    from espnet2_supernet.measure.rows import RowSpec
    from espnet2_supernet.tasks.loading import read_config

    search, names = search_options(args), _names([*args.models, *args.bundles], args.output_dir)
    calibration = [str(p) for p in list(read_utterances(args.wav_scp).values())[:CALIBRATION]]
    cache = str(args.output_dir / "openvino")
    configs = {folder: read_config(folder / "config.yaml", None)[1] for folder in args.models}
    _check_tokens(configs)
    specs = []
    for folder, config in configs.items():
        [row] = _table(config, folder).values()
        for kind, options in _kinds(args, row):
            options = {**search, **options}
            specs.append(RowSpec(kind, str(folder), options, cache, calibration, *names[folder]))
    for folder in args.bundles:
        experiment, prefix = names[folder]
        specs.append(RowSpec("runtime", str(folder), search, experiment=experiment, prefix=prefix))
    return specs


def _kinds(args: Namespace, row: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what computes a subnet, each with the options of its context."""
    from espnet2_supernet.supernet.context import parse_contexts

    is_full = parse_contexts(row.get("context", "full"))[0].is_full
    contexts: list[dict[str, Any]] = [{}]
    if not is_full and args.chunk_sizes:
        contexts = [{"context": {"chunk_size": size}, "allow_untrained": True}
                    for size in args.chunk_sizes]  # fmt: skip
    kinds = [kind for kind in args.rows if not is_full or kind in FULL_KINDS]
    return [(kind, options) for kind in kinds for options in contexts]


def _names(folders: Sequence[Path], output_dir: Path) -> dict[Path, tuple[str, str]]:
    """Return the experiment of each model, as seen from the output, and how its label begins."""
    parents = {folder: folder.resolve().parent for folder in folders}
    many = len(set(parents.values())) > 1
    return {
        folder: (os.path.relpath(parent, output_dir.resolve()), f"{parent.name}/" if many else "")
        for folder, parent in parents.items()
    }


def _check_tokens(configs: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse models of other tokens: one alignment serves all rows."""
    (first, config), *others = configs.items()
    for folder, other in others:
        if other.get("token_list") != config.get("token_list"):
            raise ConfigError(
                f"--models: {first} and {folder} have other token lists; measure them apart"
            )


def _table(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the one-row table of an extracted model."""
    table = (config.get("supernet_conf") or {}).get("subnets") or {}
    if len(table) != 1:
        raise ConfigError(
            f"{folder}: a model of one subnet is expected, found {len(table)}; run "
            "espnet2_supernet.bin.prune_extract first"
        )
    return table
