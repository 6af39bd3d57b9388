"""Files written whole or not at all, alone or several together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends well.

    A reader sees the old file or the complete new one; on an error the old file stays. A kill
    leaves at most a hidden file, see :func:`remove_leftovers`.

    Args:
        path: The file to write; its folder is made if needed.
        durable: Flush file and folder to the disk, so that a power cut is survived, too.

    Yields:
        A path in the same folder, with the same suffix (audio writers look at it).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give them the rights that open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable:
            _flush(path.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``folder``; its files go there when the block ends well.

    Other files in ``folder`` stay. A kill leaves at most a hidden folder, which the next call
    removes.

    Args:
        folder: Where the files shall be; it is made if needed.

    Yields:
        An empty folder on the same disk.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        folder.mkdir(parents=True, exist_ok=True)
        for file in temporary.iterdir():
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, suffix: str) -> None:
    """Remove what killed writers of :func:`atomic_path` left in a folder.

    Args:
        folder: Only its own files, not those of folders below it.
        suffix: Suffix of the files that were being written, e.g. ``.pth``.
    """
    for leftover in folder.glob(f".*{suffix}"):
        leftover.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
