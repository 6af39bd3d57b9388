"""A published wav2vec 2.0 model as the starting point of a supernet."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.ssl import hugging_face
from espnet2_supernet.ssl.hugging_face_files import read_json, read_weights
from espnet2_supernet.tasks.ssl import SupernetSSLTask
from espnet2_supernet.tasks.transfer import completed
from espnet2_supernet.train.checkpoint import atomic_save, load_strictly

MODEL_FILE = "initial.pth"


def import_hugging_face(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the weights of a local folder as a pre-trained model of ours.

    The subnets are those of the configuration: each starts from the published weights, with
    masks that keep everything, and norms of its own, if it has some, equal to the published ones.

    Args:
        args: Options of pre-training; the model goes into ``output_dir``.
        folder: ``config.json``, the weights, and ``preprocessor_config.json`` if there is one.

    Returns:
        ``file`` written, ``source``, ``taken`` (a number), ``dropped`` and ``random`` (keys).

    Raises:
        ConfigError: If the configuration describes another model, naming every difference.
        CheckpointError: If a file cannot be used, or ``output_dir`` holds a model already.
    """
    output_dir = Path(args.output_dir)
    if (output_dir / "config.yaml").exists():
        raise CheckpointError(f"{output_dir}: holds a model already; choose another --output_dir")
    options = _published_options(folder)
    source, theirs = read_weights(folder)
    _check_options(args, options, hugging_face.has_heads(theirs))
    try:
        weights, dropped = hugging_face.rename(theirs, options)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    model = SupernetSSLTask.build_model(args)
    states, random = _complete(model, weights)
    load_strictly(model, states, source)
    atomic_save(model.state_dict(), _made(output_dir) / MODEL_FILE)
    with atomic_path(output_dir / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(vars(args), indent=4, sort_keys=False))
    return {
        "file": output_dir / MODEL_FILE,
        "source": source,
        "taken": len(weights),
        "dropped": dropped,
        "random": random,
    }


def _published_options(folder: Path) -> dict[str, Any]:
    """Read what must be configured here; see :func:`hugging_face.options_of`."""
    preprocessor = folder / "preprocessor_config.json"
    given = read_json(preprocessor) if preprocessor.exists() else {}
    return hugging_face.options_of(read_json(folder / "config.json"), given)


def _made(folder: Path) -> Path:
    """Make a folder.

    Raises:
        CheckpointError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made ({error.strerror})") from error
    return folder


def _check_options(args: argparse.Namespace, options: Mapping[str, Any], heads: bool) -> None:
    """Refuse a configuration of another model than the published one.

    Raises:
        ConfigError: Naming every key that differs.
    """
    differing = []
    for name in ("frontend", "encoder"):
        if getattr(args, name) != options[name]:
            differing.append(f"{name}: {getattr(args, name)}, must be {options[name]}")
    if differing:
        raise ConfigError("; ".join(differing))
    blocks = ["frontend_conf", "encoder_conf", *(["model_conf"] if heads else [])]
    classes = {f"{table.name}_conf": table for table in SupernetSSLTask.class_choices_list}
    for block in blocks:
        table = classes[block]
        class_ = table.get_class(getattr(args, table.name))
        given = completed(class_, getattr(args, block))
        if block == "model_conf":
            given["latent_dim"] = given["latent_dim"] or given["final_dim"]
        for key, wanted in options[block].items():
            if _plain(given[key]) != _plain(wanted):
                differing.append(f"{block}.{key}: {given[key]}, must be {wanted}")
    if differing:
        raise ConfigError(f"the published model is another one: {'; '.join(differing)}")


def _plain(value: Any) -> Any:
    """Turn tuples into lists."""
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _complete(
    model: torch.nn.Module, weights: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Add what is not published: masks and counters of a new model, private norms, new heads.

    Returns:
        A state dict, and the parameters in it that are random.

    Raises:
        CheckpointError: If something else is missing, naming it.
    """
    states, random = dict(weights), []
    parameters = {key for key, _ in model.named_parameters()}
    for key, value in model.state_dict().items():
        shared = re.sub(r"\.norm_\w+(?=\.(weight|bias)$)", "", key)  # see SubnetLayerNorm
        if key in weights:
            continue
        if shared in weights:
            states[key] = weights[shared]
        elif key not in parameters:
            states[key] = value
        elif key.startswith("heads."):
            states[key] = value
            random.append(key)
        else:
            raise CheckpointError(f"'{key}' is missing")
    return states, random
