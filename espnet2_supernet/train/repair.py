"""Mends what a kill between two writes leaves behind."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from espnet2_supernet.atomic import remove_leftovers
from espnet2_supernet.train.checkpoint import atomic_save, replace_link


def repair_links(output_dir: Path, model: torch.nn.Module, epoch: int) -> None:
    """Restore the file of the last epoch if the run was killed after ``checkpoint.pth``.

    ESPnet writes ``checkpoint.pth`` first and ``<N>epoch.pth`` next. A kill in between would let
    the resumed run go on with epoch N + 1 and fail at the end, when it averages a file that was
    never written. Temporary files of an interrupted write are removed.

    Args:
        output_dir: Folder of the experiment.
        model: Model just loaded from the checkpoint.
        epoch: Epoch of the checkpoint.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        if torch.distributed.get_rank() != 0:
            return
    remove_leftovers(output_dir, ".pth")
    path = output_dir / f"{epoch}epoch.pth"
    if epoch > 0 and not path.exists():
        logging.warning(f"{path} is missing: written again from checkpoint.pth")
        atomic_save(model.state_dict(), path)
        replace_link(output_dir / "latest.pth", path.name)
