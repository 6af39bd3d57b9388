"""Files of the report: reading with clear errors, writing atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.errors import DataError


def read_text_file(path: Path) -> str:
    """Read a UTF-8 file.

    Args:
        path: The file.

    Returns:
        Its text.

    Raises:
        DataError: If it is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert the file") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file whose top level is an object.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        DataError: If the file cannot be read or is not a JSON object.
    """
    try:
        value = json.loads(read_text_file(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected, found {type(value).__name__}")
    return value


def write_atomic(path: Path, text: str) -> None:
    """Write a UTF-8 file so that a reader sees the old text or the new one, never half.

    Args:
        path: The file; its folder is made.
        text: What to write.

    Raises:
        DataError: If it cannot be written (a full disk, say); the old file stays.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def remove(path: Path) -> None:
    """Remove a file, if there is one.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be removed (its folder is a file, say).
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
