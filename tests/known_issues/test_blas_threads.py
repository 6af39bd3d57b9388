"""A stream on one thread kept two cores busy: numpy's BLAS has threads that wait in busy loops."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet2_supernet import runtime

PRODUCTS = {"dot", "vdot", "inner", "outer", "matmul", "einsum", "tensordot", "linalg", "convolve"}
STREAM = """
import os, pathlib, sys, time
import numpy as np
from espnet2_supernet.runtime.recognizer import Recognizer

def busy_elsewhere():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    others = [task for task in tasks if int(task.name) != os.getpid()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in others)

recognizer = Recognizer.load(sys.argv[1], allow_untrained=True, num_threads=1)
wave = np.random.default_rng(0).standard_normal(160000).astype(np.float32)
recognizer(wave)
time.sleep(0.5)  # threads that look for work stop when there is none
before = busy_elsewhere()
recognizer(wave)
print(busy_elsewhere() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc")
def test_no_other_thread_has_work(tiny_model, tmp_path):
    from espnet2_supernet.runtime.bundle import write_bundle
    from espnet2_supernet.tasks.bundling import Origin, make_bundle

    bundle = make_bundle(tiny_model(), "device", None, "fp32", "char", Origin("", ""), True)
    write_bundle(tmp_path, bundle)
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path)], env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1e6, "ns of CPU time in other threads"


def test_no_product_is_left_to_numpy():
    for path in Path(runtime.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)), path
            library = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if library and node.value.id in ("np", "numpy"):
                assert node.attr not in PRODUCTS, f"{path}:{node.lineno}"
