"""The n-best average at the end of training, made safe for masks.

ESPnet's own average turns boolean masks into fractions and adds up step counters.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from espnet2.train.reporter import Reporter

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.averaging import average_state_dicts
from espnet2_supernet.train.checkpoint import atomic_save, load_weights, replace_link

States = dict[str, torch.Tensor]


def average_nbest_models(
    output_dir: Path,
    reporter: Reporter,
    best_model_criterion: Sequence[Sequence[str]],
    nbest: Collection[int] | int,
    suffix: str | None = None,
    use_deepspeed: bool = False,
) -> None:
    """Average the best epochs; only epochs with the same masks are averaged.

    The arguments and the file names are those of ESPnet's function of the same name, which this
    one replaces during training: ``<phase>.<criterion>.ave_<n>best.pth`` and ``....ave.pth``.
    Where fewer than ``n`` epochs can be averaged, ``n`` in the file name is what was averaged.

    Args:
        output_dir: Folder of the epochs' files.
        reporter: Ranks the epochs.
        best_model_criterion: (phase, statistic, ``min`` or ``max``) triples.
        nbest: How many epochs to average; several numbers give several files.
        suffix: Inserted before ``.pth``.
        use_deepspeed: Not supported.

    Raises:
        CheckpointError: If a file cannot be read or written.
        ConfigError: If ``use_deepspeed``.
    """
    if use_deepspeed:
        raise ConfigError("use_deepspeed: SupernetTrainer does not run under DeepSpeed")
    wanted = [nbest] if isinstance(nbest, int) else sorted(nbest)
    ending = f"{suffix}.pth" if suffix else "pth"
    for phase, key, mode in best_model_criterion:
        if not reporter.has(phase, key):
            continue
        epochs = [
            epoch
            for epoch in reporter.sort_epochs(phase, key, mode)
            if (output_dir / f"{epoch}epoch.pth").exists()
        ]
        if epochs:
            stem = output_dir / f"{phase}.{key}"
            if suffix is None:  # a kill may have left the link at an older epoch
                replace_link(output_dir / f"{stem.name}.best.pth", f"{epochs[0]}epoch.pth")
            _average_criterion(stem, epochs, [n for n in wanted if n > 0] or [1], ending)


def _average_criterion(stem: Path, epochs: list[int], wanted: list[int], ending: str) -> None:
    """Write the averages of one criterion and the link to the largest.

    Args:
        stem: ``<folder>/<phase>.<criterion>``.
        epochs: Epochs, best first.
        wanted: Numbers of epochs to average.
        ending: End of the file names.
    """
    folder = stem.parent
    best = load_weights(folder / f"{epochs[0]}epoch.pth")
    usable = _with_same_masks(folder, epochs[: max(wanted)], best)
    numbers = sorted({min(n, len(usable)) for n in wanted})
    for n in numbers:
        path = folder / f"{stem.name}.ave_{n}best.{ending}"
        if n == 1:
            replace_link(path, f"{epochs[0]}epoch.pth")
            continue
        if path.is_symlink():
            path.unlink()
        chosen = sorted(usable[:n])
        logging.info(f"Averaging epochs {chosen}: {path}")
        files = [folder / f"{epoch}epoch.pth" for epoch in chosen]
        atomic_save(average_state_dicts(map(load_weights, files), names=files), path)
    replace_link(
        folder / f"{stem.name}.ave.{ending}", f"{stem.name}.ave_{numbers[-1]}best.{ending}"
    )


def _with_same_masks(folder: Path, epochs: list[int], best: States) -> list[int]:
    """Return the epochs whose masks equal those of the best epoch; tell about the others."""
    masks = masks_of(best)
    same = [
        epoch
        for epoch in epochs
        if epoch == epochs[0]
        or equal_masks(masks, masks_of(load_weights(folder / f"{epoch}epoch.pth")))
    ]
    if len(same) < len(epochs):
        left_out = sorted(set(epochs) - set(same))
        logging.warning(
            f"Epochs {left_out} are not averaged: their masks differ from those of epoch "
            f"{epochs[0]}. Let the schedule end earlier, or lower keep_nbest_models"
        )
    return same


def masks_of(states: States) -> States:
    """Return the boolean entries of a state dict."""
    return {key: value for key, value in states.items() if value.dtype == torch.bool}


def equal_masks(left: States, right: States) -> bool:
    """Return whether two sets of masks have the same names and values."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
