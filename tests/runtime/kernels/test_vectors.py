import subprocess
import sys

import pytest

from espnet2_supernet.runtime.kernels import vectors
from espnet2_supernet.runtime.kernels.vectors import cpu_has


def test_the_features_that_numba_compiles_for_count(monkeypatch):
    from numba.core import config

    monkeypatch.setattr(config, "CPU_FEATURES", "+avx2,+fma,-avx512f")
    assert cpu_has("avx2", "fma") and not cpu_has("avx512f") and not cpu_has("avx2", "avx512f")
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    assert not cpu_has("no such feature")


def test_a_cpu_that_llvm_cannot_describe_has_no_features(monkeypatch):
    def unknown():
        raise RuntimeError("Failed to get host CPU features.")

    monkeypatch.setattr(vectors.llvmlite.binding, "get_host_cpu_features", unknown)
    assert not cpu_has("avx2")


@pytest.mark.parametrize("forbidden", ["torch", "espnet2"])
def test_the_package_loads_neither_torch_nor_espnet(forbidden):
    code = (
        "import sys, espnet2_supernet.runtime.training.block_products; "
        f"raise SystemExit({forbidden!r} in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
