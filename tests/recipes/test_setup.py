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


def test_packages_are_installed_once_and_only_into_the_environment(setup, tmp_path):
    venv, calls = tmp_path / "my venv", tmp_path / "calls"
    python = venv / "bin/python3"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/usr/bin/env bash\necho "PYTHONPATH=${{PYTHONPATH-}} $*" >>"{calls}"\n')
    python.chmod(0o755)
    env = {"SUPERNET_VENV": str(venv), "PYTHONPATH": "/some/espnet"}
    done = setup(**env)
    assert done.returncode == 0, done.stderr
    assert "Environment ready" in done.stdout
    assert "/some/espnet" not in calls.read_text()
    assert calls.read_text().count(" -m pip install ") == 1
    calls.unlink()
    again = setup(**env)
    assert again.returncode == 0 and "up to date" in again.stdout
    assert not calls.exists()


def test_an_installation_that_does_not_load_is_no_success(setup, tmp_path):
    venv = tmp_path / "venv"
    python = venv / "bin/python3"
    python.parent.mkdir(parents=True)
    python.write_text("#!/usr/bin/env bash\ncase $* in *torchaudio*) echo broken; exit 1 ;; esac\n")
    python.chmod(0o755)
    done = setup(SUPERNET_VENV=str(venv))
    assert done.returncode == 1
    assert f"delete {venv} and run this command again" in done.stderr
    assert not (venv / ".supernet-setup").exists()
