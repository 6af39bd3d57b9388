"""Where compiled kernels are kept, and that they are found again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espnet2_supernet import runtime

CODE = """
from espnet2_supernet.runtime.chunk import products, room
products.quantize(0, 1, room.build_room(1, [16]), 0, 16)
stats = products.quantize.stats
print(len(stats.cache_hits), len(stats.cache_misses), stats.cache_path)
"""


def install(folder):
    """A copy of the package without anything compiled."""
    package = folder / "espnet2_supernet"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    clean = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(runtime.__file__).parent, package / "runtime", ignore=clean)
    return package / "runtime"


def run(folder, **env):
    """Hits and misses of the cache, and where it is."""
    env = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | env
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hits, misses, path = done.stdout.split()
    return int(hits), int(misses), Path(path)


def test_compiled_kernels_travel_with_the_package(tmp_path):
    package = install(tmp_path / "here")
    assert run(tmp_path / "here") == (0, 1, package / "chunk" / "__pycache__")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for file in (tmp_path / "there").rglob("*.py"):
        file.touch()  # as unpacking an archive may do
    there = tmp_path / "there" / "espnet2_supernet" / "runtime" / "chunk" / "__pycache__"
    assert run(tmp_path / "there") == (1, 0, there)


def test_kernels_for_another_cpu_can_be_made_here(tmp_path):
    install(tmp_path)
    device = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    found = [run(tmp_path, **env)[:2] for env in (device, device, {}, device)]
    assert found == [(0, 1), (1, 0), (0, 1), (1, 0)]


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME")
def test_a_package_that_cannot_be_written_uses_the_folder_of_the_user(tmp_path):
    package = install(tmp_path / "here")
    (package / "chunk" / "__pycache__").touch()  # no folder can be made here, not even by root
    cache = tmp_path / "cache"
    for expected in ((0, 1), (1, 0)):
        *found, path = run(tmp_path / "here", XDG_CACHE_HOME=str(cache))
        assert tuple(found) == expected and cache in path.parents
