"""Extraction of one subnet as a model of its own: dense weights, loadable by ESPnet."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_supernet.asr.heads import OWN_HEADS
from espnet2_supernet.atomic import atomic_files
from espnet2_supernet.encoder.sizes import encoder_sizes
from espnet2_supernet.encoder.stack import norm_places
from espnet2_supernet.encrl.settings import MODEL_KEYS
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.sparsity.spec import MaskSpec
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.loading import write_stats
from espnet2_supernet.train.checkpoint import atomic_save, load_strictly
from espnet2_supernet.train.monitor import count_weights

# Tensors that the extracted encoder or the subnet's head brings along, or that only training needs
FOREIGN = ("encoder.", "pruner.", "log_scale", OWN_HEADS)
TOLERANCE = 1e-5  # the same numbers in the same order: in practice the outputs are equal


def prune_row(
    model: torch.nn.Module, args: argparse.Namespace, name: str, mask: Mapping[str, Any]
) -> torch.nn.Module:
    """Prune a dense row once, by the declaration of a mask.

    Args:
        model: Trained model.
        args: Its options; they are not changed.
        name: Subnet without a mask.
        mask: ``{pattern: ..., sparsity: ..., score: ...}``.

    Returns:
        Model whose only subnet is the row, with a mask.

    Raises:
        ConfigError: If the subnet does not exist or has a mask, or the mask cannot be used.
    """
    row = _row(model, name)
    if row.pop("mask", None) is not None:
        raise ConfigError(f"subnet '{name}' is sparse already; one-shot pruning is for dense rows")
    row["mask"] = MaskSpec.parse(mask, "--pattern, --sparsity").to_dict()
    row.pop("depth", None)
    row.pop("head", None)
    table = {"subnets": {name: row}, "schedule": {"kind": "one_shot", "begin": 0}}
    pruned: Any = _build(args, table, encoder_conf=_encoder_conf(model, args, name))
    dense = subnet_states(model, name)
    load_strictly(pruned, {**pruned.state_dict(), **dense}, f"subnet '{name}'")
    pruned.pruner.step_once()
    return pruned.eval()


def extract(
    model: torch.nn.Module,
    args: argparse.Namespace,
    name: str,
    output_dir: Path,
    waveforms: Sequence[torch.Tensor],
) -> dict[str, Any]:
    """Write one subnet as a stand-alone model, and prove that it computes the same.

    Args:
        model: Trained model.
        args: Its options.
        name: Subnet.
        output_dir: Folder for ``config.yaml``, ``model.pth``, ``feats_stats.npz`` and
            ``extract.json``; files of these names are replaced only after the proof.
        waveforms: Waveforms (N,) that both models encode.

    Returns:
        Content of ``extract.json``: ``subnet``, ``contexts``, sizes, ``max_abs_diff``.

    Raises:
        ConfigError: If there is no such subnet.
        CheckpointError: If the extracted model computes something else, or cannot be written.
    """
    row = _row(model, name)
    row.pop("mask", None)
    row.pop("depth", None)
    row.pop("head", None)
    try:
        with atomic_files(output_dir) as temporary:
            _write(model, args, name, row, temporary, output_dir)
            summary = _prove(model, name, temporary, waveforms) | {"contexts": row["context"]}
            (temporary / "extract.json").write_text(json.dumps(summary, indent=2) + "\n")
    except OSError as error:
        raise CheckpointError(f"{output_dir}: cannot write ({error.strerror})") from error
    return summary


def _prove(
    model: Any, name: str, folder: Path, waveforms: Sequence[torch.Tensor]
) -> dict[str, Any]:
    """Read an extracted model back, and compare and count it.

    Raises:
        CheckpointError: If it computes something else.
    """
    reloaded, _ = SupernetASRTask.build_model_from_file(
        folder / "config.yaml", folder / "model.pth"
    )
    difference = compare(model, reloaded, name, waveforms)
    return {"subnet": name, **_counts(model, reloaded, name), "max_abs_diff": difference}


@torch.no_grad()
def compare(source: Any, extracted: Any, name: str, waveforms: Sequence[torch.Tensor]) -> float:
    """Return the largest difference of encoder outputs, over all contexts of a subnet.

    Args:
        source: Model with the subnet.
        extracted: Model with only this subnet.
        name: Subnet.
        waveforms: Waveforms (N,).

    Returns:
        Largest absolute difference.

    Raises:
        CheckpointError: If it exceeds the tolerance or an output is not finite.
    """
    lengths = torch.tensor([len(wave) for wave in waveforms])
    speech = torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
    largest = 0.0
    for context in source.supernet.subnet(name).contexts:
        outputs = [
            model.eval().encode(speech.clone(), lengths, subnet=name, context=context)[0]
            for model in (source, extracted)
        ]
        difference = float((outputs[0] - outputs[1]).abs().max()) if outputs[0].numel() else 0.0
        if not difference <= TOLERANCE:  # catches not-a-number
            raise CheckpointError(
                f"subnet '{name}', {context}: the extracted model differs from its source by "
                f"{difference:.2g} (allowed {TOLERANCE:g}); nothing was written"
            )
        largest = max(largest, difference)
    return largest


def _counts(source: Any, extracted: torch.nn.Module, name: str) -> dict[str, int]:
    """Count the weights of the new model; what was prunable is told of the source."""
    before, after = count_weights(source, name), count_weights(extracted, name)
    if source.supernet.unit_groups(source.supernet.subnet(name).mask_name):
        return {
            **before,
            **{key: after[key] for key in ("parameters", "nonzero")},
            "bytes_dense_fp32": after["bytes_dense_fp32"],
        }
    return before


def _row(model: Any, name: str) -> dict[str, Any]:
    """Return the table entry of a subnet."""
    model.supernet.subnet(name)  # an unknown name is an error that lists the names
    return dict(model.supernet.config.to_dict()["subnets"][name])


def _encoder_conf(model: Any, args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the block of an encoder that has only the layers and units of a subnet.

    Sizes are written where units are cut out, or where the blocks had sizes of their own.
    """
    encoder = model.supernet.extract(name)
    conf = {**args.encoder_conf, "num_blocks": model.supernet.num_layers(name)}
    if norm_places(encoder):
        conf["kept_norms"] = norm_places(encoder)
    sizes = encoder_sizes(encoder)
    cut = model.supernet.unit_groups(model.supernet.subnet(name).mask_name)
    unlike = any(isinstance(conf.get(key), (list, tuple)) for key in sizes)
    return {**conf, **sizes} if cut or unlike else conf


def subnet_states(model: Any, name: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a model with only one dense subnet."""
    foreign = FOREIGN if model.supernet.subnet(name).uses_detector else (*FOREIGN, "detector.")
    states = {key: x for key, x in model.state_dict().items() if not key.startswith(foreign)}
    for part, module in (("encoder", model.supernet.extract(name)), ("ctc", model.ctc_of(name))):
        if module is not None:
            states |= {f"{part}.{key}": value for key, value in module.state_dict().items()}
    return states


def _build(args: argparse.Namespace, table: Mapping[str, Any], **changes: Any) -> torch.nn.Module:
    """Build a model of the same kind with another table of subnets."""
    return SupernetASRTask.build_model(_options(args, table, **changes))


def _options(
    args: argparse.Namespace, table: Mapping[str, Any], **changes: Any
) -> argparse.Namespace:
    """Copy options with another table of subnets; a student becomes a plain recogniser."""
    kinds = [(row.get("tokens") or {}).get("kind") for row in table["subnets"].values()]
    unused = ("supernet_conf",) if "salad" in kinds else ("supernet_conf", "detector")
    model_conf = {k: v for k, v in args.model_conf.items() if k not in (*unused, *MODEL_KEYS)}
    given = {"model": "supernet", "supernet_conf": dict(table), "model_conf": model_conf, **changes}
    return argparse.Namespace(**{**vars(args), **given})


def _write(
    model: Any,
    args: argparse.Namespace,
    name: str,
    row: Mapping[str, Any],
    folder: Path,
    final_folder: Path,
) -> None:
    """Write configuration, weights and statistics into a folder to be renamed later."""
    changes: dict[str, Any] = {"output_dir": str(final_folder), "resume": False}
    changes["encoder_conf"] = _encoder_conf(model, args, name)
    if args.normalize == "global_mvn":
        write_stats(model.normalize.mean, model.normalize.std, folder / "feats_stats.npz")
        conf = {**args.normalize_conf, "stats_file": str(folder / "feats_stats.npz")}
        changes["normalize_conf"] = conf
    if getattr(args, "bpemodel", None) is not None and Path(args.bpemodel).is_file():
        shutil.copyfile(args.bpemodel, folder / "bpe.model")
        changes["bpemodel"] = str(final_folder / "bpe.model")
    states = subnet_states(model, name)
    options = _options(args, {"subnets": {name: row}}, **changes)
    single = SupernetASRTask.build_model(options)
    load_strictly(single, states, f"subnet '{name}'")
    atomic_save(states, folder / "model.pth")
    if args.normalize == "global_mvn":
        stats_file = str(final_folder / "feats_stats.npz")
        options.normalize_conf = {**options.normalize_conf, "stats_file": stats_file}
    text = yaml.safe_dump(vars(options), indent=4, sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
