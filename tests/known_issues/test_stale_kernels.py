"""Kernels in numba's cache were used on after a change of the inner loops in another file."""

import shutil
import subprocess
import sys
from pathlib import Path

from espnet2_supernet import runtime

CODE = (
    "from espnet2_supernet.runtime.training.block_loops import forward; "
    "print(forward._cache._cache_file._source_stamp)"
)


def stamp(folder):
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_change_of_the_intrinsics_is_noticed(tmp_path):
    package = tmp_path / "espnet2_supernet"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copytree(Path(runtime.__file__).parent, package / "runtime")
    before = stamp(tmp_path)
    assert stamp(tmp_path) == before
    for name in ("training/block_tiles.py", "kernels/vectors.py"):
        with open(package / "runtime" / name, "a") as file:
            file.write("# changed\n")
        after = stamp(tmp_path)
        assert after != before
        before = after
