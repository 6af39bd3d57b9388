"""One training at a time in an experiment folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from espnet2_supernet.errors import CheckpointError

LOCK_FILE = ".lock"
# What a file system without locks answers, e.g. Lustre mounted without the option flock
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: set[int] = set()


@contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Keep other trainings out of a folder while the block runs.

    The lock is the operating system's (``flock`` on a file in the folder), so it ends with this
    process, killed or not, and a resumed training finds nothing to clean up. Processes that this
    one forks, such as the workers of a data loader, do not hold it: they may outlive a kill by
    seconds. On a file system without locks there is a warning and no protection.

    Args:
        folder: Made if needed; the file stays there.

    Raises:
        CheckpointError: If another process holds the lock.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(handle)
    try:
        _lock(handle, folder)
        yield
    finally:
        _held.discard(handle)
        os.close(handle)  # the lock is gone with it


def _lock(handle: int, folder: Path) -> None:
    """Take the lock of an open file and write down whose it is.

    Raises:
        CheckpointError: If another process holds it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
        raise CheckpointError(
            f"{folder}: {owner} is training in this folder, and two trainings would overwrite "
            "each other's checkpoints. Wait for it, end it and resume, or choose another "
            "--output_dir"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.warning(f"{folder}: no lock ({error.strerror}); start no second training there")
        return
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _leave_to_parent() -> None:
    """Close the locked files in a forked process; the parent's lock is untouched."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
