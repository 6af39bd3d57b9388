"""numba failed on a cache that was written when the kernels still had another argument class."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from espnet2_supernet import runtime

CODE = """
import numpy as np
from espnet2_supernet.runtime.chunk import products, room
products.quantize(0, 1, room.build_room(1, [16]), 0, 16)
print(len(products.quantize.signatures))
"""


def run(folder):
    # Elsewhere than beside the package: that a folder of the user's choice works, too.
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_class_that_is_gone_does_no_harm(tmp_path):
    package = tmp_path / "espnet2_supernet"
    package.mkdir()
    (package / "__init__.py").touch()
    source = Path(runtime.__file__).parent
    shutil.copytree(source, package / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(tmp_path) == "1\n" and list((tmp_path / "cache").rglob("*.nbi"))
    assert not list(package.rglob("*.nbi"))
    for file in (package / "runtime" / "chunk").glob("*.py"):
        file.write_text(file.read_text().replace("Room", "Hall"))
    assert run(tmp_path) == "1\n"
