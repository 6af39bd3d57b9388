"""The chunk step on CPUs without AVX-512, and with memory that ends where its arrays end."""

import ctypes
import mmap
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix

# What numba compiles for, instead of the CPU at hand: LLVM's name of a CPU and its features.
CPUS = {
    "portable": ("x86-64", ""),
    "avx2": ("haswell", "+avx,+avx2,+fma"),
    "avx_vnni": ("alderlake", "+avx,+avx2,+fma,+avxvnni"),
}


def weights_of(kind, size, units, kernel, block, int8, blocks=2):
    """Random weights of an encoder, sparse in blocks, without torch."""
    from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription, matrix_shapes

    rng = np.random.default_rng(0)
    description = EncoderDescription(kind, size, 2, units, blocks, 6, 10, 3, kernel)
    found = {}
    for name, shape in matrix_shapes(description).items():
        keep = rng.random((-(-shape[0] // block[0]), -(-shape[1] // block[1]))) < 0.4
        mask = keep.repeat(block[0], 0).repeat(block[1], 1)[: shape[0], : shape[1]]
        dense = (0.3 * rng.standard_normal(shape) * mask).astype(np.float32)
        matrix = BlockMatrix.from_dense(dense, block)
        found[name] = matrix.quantize() if int8 else matrix
        found[name.replace("weight", "bias")] = rng.standard_normal(shape[0]).astype(np.float32)
    norms = ["norm"] + [
        f"blocks.{i}.norm_{n}" for i in range(blocks) for n in ("attention", "feed_forward")
    ]
    if kind == "conformer":
        for i in range(blocks):
            start = f"blocks.{i}."
            norms += [start + n for n in ("norm_macaron", "norm_convolution", "norm_out")]
            norms.append(f"{start}convolution.norm")
            kernels = rng.standard_normal((size, 1, kernel)).astype(np.float32)
            found[f"{start}convolution.depthwise.weight"] = kernels
            found[f"{start}convolution.depthwise.bias"] = np.ones(size, np.float32)
    for name in norms:
        found[f"{name}.weight"] = 1 + 0.1 * rng.standard_normal(size).astype(np.float32)
        found[f"{name}.bias"] = 0.1 * rng.standard_normal(size).astype(np.float32)
    return vars(description), found


def outputs(threads=1):
    """What some encoders make of three chunks and a bit; all with the same program code."""
    from espnet2_supernet.runtime.encoder.kept_step import KeptEncoderStep

    results = []
    for kind, size, units, kernel, block, int8 in (
        ("conformer", 20, 37, 5, (8, 1), False),
        ("conformer", 36, 50, 35, (16, 4), True),
        ("transformer", 48, 70, 1, (5, 3), True),
        ("transformer", 32, 64, 1, (16, 1), False),
    ):
        given = weights_of(kind, size, units, kernel, block, int8)
        step = KeptEncoderStep(*given, num_threads=threads)
        frames = np.random.default_rng(1).standard_normal((20, size)).astype(np.float32)
        state, dropping = step.init_state(), step.init_state()
        for start in range(0, 20, 6):
            part = frames[start : start + step.span]
            results.append(step.step(part, len(part), state).reshape(-1))
            kept = step.step_kept(part, np.arange(len(part)) % 3 != 1, dropping)
            results.append(kept.reshape(-1))
    return np.concatenate(results)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 CPUs")
@pytest.mark.parametrize("cpu", CPUS)
def test_other_cpus_give_the_same(cpu, tmp_path):
    if cpu == "avx_vnni" and "avx_vnni" not in _flags():
        pytest.skip("no AVX-VNNI here")
    code = (
        f"from espnet2_supernet.runtime.kernels import frame_tiles\n"
        f"assert not frame_tiles.WIDE and frame_tiles.VNNI == {'256' * (cpu == 'avx_vnni')!r}\n"
        f"numpy.save({str(tmp_path / 'out.npy')!r}, found['outputs']())"
    )
    cache = {}
    if cpu == "portable":  # what comes from a cache cannot be looked into
        cache["NUMBA_CACHE_DIR"] = str(tmp_path)
        code += "\nfound['translate_to_aarch64']()"
    name, features = CPUS[cpu]
    env = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, **cache}
    code = f"import runpy, numpy; found = runpy.run_path({__file__!r})\n{code}"
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    # Sums of float32 are rounded otherwise without FMA, and bytes then too, now and then.
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), outputs(), atol=0.05)
    assert np.abs(np.load(tmp_path / "out.npy") - outputs()).mean() < 1e-3


def translate_to_aarch64():
    """There is no such CPU here: it shows that the kernels ask for nothing that it lacks."""
    import llvmlite.binding as llvm

    from espnet2_supernet.runtime.chunk.program import encode
    from espnet2_supernet.runtime.kernels.row_tiles import multiply_rows
    from espnet2_supernet.runtime.layers.row_matrix import RowMatrix

    RowMatrix(np.ones((3, 2), np.float32))(np.ones((1, 2), np.float32))
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine()
    for function in (encode, multiply_rows):
        for text in function.inspect_llvm().values():
            assert "<16 x float>" in text
            text = re.sub(r"^target .*$", "", text, flags=re.M).replace(" immarg", "")
            # LLVM made it of numba's counting of references, for x86 only.
            text = text.replace("llvm.x86.atomic.sub.cc.i64", "count_down")
            assert "llvm.x86" not in text
            module = llvm.parse_assembly(text)
            module.triple, module.data_layout = machine.triple, str(machine.target_data)
            assert "fmla" in machine.emit_assembly(module)  # multiply and add four floats


def _flags():
    try:
        with open("/proc/cpuinfo") as file:
            return file.read()
    except OSError:
        return ""


def _fenced(size, kind=np.float32):
    """Zeros that end where memory that must not be touched begins."""
    pages = -(-size * 4 // mmap.PAGESIZE) + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fence = (pages - 1) * mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + fence), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return np.frombuffer(memory, kind, size, fence - size * 4)


def _run_fenced():
    from espnet2_supernet.runtime.chunk import room
    from espnet2_supernet.runtime.encoder import arena, step

    wanted = [outputs(), outputs(2)]
    build = arena.Arena.build

    def fenced_build(self):
        whole = build(self)
        copy = _fenced(len(whole) // 4).view(np.uint8)
        copy[:] = whole
        return copy

    arena.Arena.build = fenced_build
    room.lined = step.lined = _fenced
    assert np.array_equal(outputs(), wanted[0]) and np.array_equal(outputs(2), wanted[1])
    print("fenced")


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
def test_nothing_is_read_or_written_behind_an_array():
    code = f"import runpy; runpy.run_path({__file__!r})['_run_fenced']()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "fenced\n", done.stderr
