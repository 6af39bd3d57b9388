"""local/setup.sh: what it refuses before anything is installed."""

from __future__ import annotations

import pytest


@pytest.fixture
def setup(root, run, tmp_path):
    def run_setup(**env):
        return run(root / "local/setup.sh", cwd=tmp_path, env=env)

    return run_setup


def test_a_python_of_another_version_is_refused(setup, tmp_path):
    old = tmp_path / "python3.9"
    old.write_text("#!/usr/bin/env bash\nexit 1\n")
    old.chmod(0o755)
    done = setup(PYTHON=str(old), SUPERNET_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "Python 3.10, 3.11 or 3.12 is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_relative_environment_is_refused(setup):
    done = setup(SUPERNET_VENV="venv")
    assert done.returncode == 1
    assert "must be an absolute path" in done.stderr
