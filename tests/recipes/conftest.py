"""What the recipe tests share: a scratch copy of egs/ and a way to run bash in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def egs(tmp_path: Path) -> Path:
    """A copy of egs/ and conf/ without what recipes have made; the package is the repository's."""
    made = shutil.ignore_patterns("data", "dump", "exp", "downloads", "README.md")
    shutil.copytree(ROOT / "egs", tmp_path / "repo" / "egs", symlinks=True, ignore=made)
    shutil.copytree(ROOT / "conf", tmp_path / "repo" / "conf")  # recipes link to it
    return tmp_path / "repo" / "egs"


@pytest.fixture
def run() -> Run:
    """Run a command; standard output and error are kept apart."""

    def run_command(
        *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "SUPERNET_VENV"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment["PYTHONPATH"] = str(ROOT)
        return subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=environment | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run_command
