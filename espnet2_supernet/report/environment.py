"""The ``Environments`` block of RESULTS.md: what made the figures."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import metadata

from espnet2_supernet import __version__

_UNKNOWN = "unknown"


def environment_lines() -> list[str]:
    """Return the block as Markdown list items, in ESPnet's shape.

    Versions of others come from the installed metadata: importing ESPnet takes ten seconds. Ours
    comes from the package, which may be on PYTHONPATH without being installed.

    Returns:
        Date, python, espnet, pytorch, espnet2_supernet, git hash and commit date.
    """
    python = sys.version.replace("\n", " ")
    return [
        f"- date: `{time.strftime('%a %b %d %H:%M:%S %Z %Y')}`",
        f"- python version: `{python}`",
        f"- espnet version: `espnet {_version('espnet')}`",
        f"- pytorch version: `pytorch {_version('torch')}`",
        f"- espnet2_supernet version: `espnet2_supernet {__version__}`",
        f"- Git hash: `{_git('rev-parse', 'HEAD')}`",
        f"  - Commit date: `{_git('log', '-1', '--format=%cd')}`",
    ]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return _UNKNOWN


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return _UNKNOWN
    return done.stdout.strip() or _UNKNOWN
