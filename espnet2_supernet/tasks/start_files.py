"""What a training began from: going on with it must mean the same beginning (our choice).

ESPnet resumes from ``checkpoint.pth`` whatever the options say of the start, and then writes them
to ``config.yaml``: the old model under a new name. So the digests of the files are noted there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet2.utils.nested_dict_action import NestedDictAction

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle import file_digest

# Options that name files of weights, and what else decides how a training begins from them
_FILES: dict[str, tuple[str, ...]] = {
    "init_param": (),
    "init_model_file": ("init_blocks",),
    "ssl_model_file": ("ssl_masks", "ssl_blocks"),
}
_ELSEWHERE = (
    "choose another --output_dir (in a recipe: another tag, or --force true, which keeps the old "
    "folder)"
)


def add_start_record(parser: argparse.ArgumentParser) -> None:
    """Add ``--start_sha256``."""
    parser.add_argument(
        "--start_sha256",
        action=NestedDictAction,
        default={},
        help="SHA-256 of the files that init_param, init_model_file and ssl_model_file name, by "
        "option; noted in config.yaml, and compared on resuming",
    )


def note_start(args: argparse.Namespace) -> None:
    """Note the digests of the files that a new training begins from in ``start_sha256``.

    Args:
        args: Training options.

    Raises:
        CheckpointError: If a file is missing, or is not what ``start_sha256`` says.
    """
    wanted, found = dict(getattr(args, "start_sha256", None) or {}), {}
    for option in _FILES:
        paths = _paths(vars(args), option)
        for path in paths:
            if not path.is_file():
                raise CheckpointError(f"{option}: {path}: no such file; train it first")
        if paths:
            found[option] = [file_digest(path) for path in paths]
            _check_digests(option, paths, wanted.get(option), "leave start_sha256 out")
    args.start_sha256 = found


def check_same_start(old: Mapping[str, Any], args: argparse.Namespace, where: str | Path) -> None:
    """Refuse to go on with a training that began otherwise.

    Files that are gone, or have moved, do no harm: what they held is in the checkpoint.

    Args:
        old: Configuration stored beside the checkpoint.
        args: Options of this run; ``start_sha256`` is carried over.
        where: Folder of the checkpoint.

    Raises:
        CheckpointError: Naming the option that differs, or the file that has changed.
    """
    _check_options(old, vars(args), ("seed",), where)
    recorded = old.get("start_sha256")
    if recorded is None:  # a training of before these were noted
        return
    for option, more in _FILES.items():
        before, after = _paths(old, option), _paths(vars(args), option)
        if len(before) != len(after):
            raise _differs(where, option, old.get(option), getattr(args, option))
        if before:
            _check_options(old, vars(args), more, where)
            _check_digests(option, after, recorded.get(option), _ELSEWHERE)
    args.start_sha256 = dict(recorded)


def _check_options(
    old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, ...], where: str | Path
) -> None:
    for name in names:
        if name in old and name in new and old[name] != new[name]:
            raise _differs(where, name, old[name], new[name])


def _differs(where: str | Path, name: str, before: Any, after: Any) -> CheckpointError:
    return CheckpointError(
        f"{where}: the training there began with {name} {before}, not {after}. Restore the "
        f"option, or {_ELSEWHERE}"
    )


def _check_digests(option: str, paths: list[Path], wanted: Any, remedy: str) -> None:
    """Compare the files that are there with what was noted of them."""
    for path, digest in zip(paths, wanted or [], strict=False):
        if path.is_file() and (own := file_digest(path)) != digest:
            raise CheckpointError(
                f"{option}: {path} is not the file that the training began with: its SHA-256 "
                f"begins with {own[:12]}, not {digest[:12]}. Restore the file, or {remedy}"
            )


def _paths(options: Mapping[str, Any], option: str) -> list[Path]:
    """Return the files that an option names; ``init_param`` has ``file:from:to:without``."""
    given = options.get(option) or []
    names = [given] if isinstance(given, str) else list(given)
    return [Path(name.split(":")[0] if option == "init_param" else name) for name in names]
