"""Text files written whole or not at all, and archives that cannot write outside their folder."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.errors import DataError


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write lines as UTF-8, atomically, with a newline after each."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a UTF-8 text file, without their line ends.

    Raises:
        DataError: If the file is missing, empty, or not UTF-8 (the line is named).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the data stage that writes it")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path}: the file is empty; delete it and rerun the stage that writes it")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; convert the file to UTF-8") from error
    # Not splitlines(): transcripts may hold U+2028 and the like, which are no line ends in Kaldi.
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def extract_tar(archive: str | Path, out: str | Path) -> Path:
    """Unpack an archive, refusing members that would land outside ``out``.

    Args:
        archive: ``.tar``, ``.tar.gz`` and the other kinds :mod:`tarfile` reads.
        out: Folder to unpack into.

    Returns:
        ``out``.

    Raises:
        DataError: If the archive is damaged, or holds a path outside ``out``, a link or a device.
    """
    archive, out = Path(archive), Path(out)
    if not archive.is_file():
        raise DataError(f"{archive}: no such archive")
    out.mkdir(parents=True, exist_ok=True)
    root = out.resolve()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _check_member(member, root, archive)
                member.mode = 0o755 if member.isdir() else 0o644
                tar.extract(member, root, set_attrs=False)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); fetch it again") from error
    return out


def _check_member(member: tarfile.TarInfo, root: Path, archive: Path) -> None:
    """Refuse a member of an archive that is no plain file or folder below ``root``."""
    target = (root / member.name).resolve()
    if member.name.startswith("/") or not target.is_relative_to(root):
        raise DataError(f"{archive}: member '{member.name}' points outside the folder; refused")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{archive}: member '{member.name}' is a link or a device; refused")
