"""Bundles as rows: recognised alike, and measured without torch."""

import subprocess
import sys

import numpy as np
import pytest

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.measure.clock import StageClock
from espnet2_supernet.measure.interleave import recognise
from espnet2_supernet.measure.memory import MODULE
from espnet2_supernet.measure.rows import RowSpec, build
from espnet2_supernet.measure.runtime_engine import RuntimeEngine
from espnet2_supernet.measure.torch_engines import torch_engine
from espnet2_supernet.runtime.recognizer import Recognizer
from espnet2_supernet.tasks.bundling import Origin, make_bundle


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    from espnet2_supernet.bin import bundle

    folder = tmp_path_factory.mktemp("bundles") / "device"
    model = next(trained.glob("valid.*.ave.pth"))
    bundle.main(["--asr_model_file", str(model), "--subnet", "device", "--output_dir", str(folder)])
    return folder


def test_a_bundle_is_a_row(bundle):
    engine = build(RowSpec("runtime", str(bundle), {"search": "greedy"}))
    info = engine.info
    assert (info.engine, info.precision, info.subnet) == ("runtime", "fp32", "device")
    assert (info.chunk_size, info.left_context, info.right_context) == (4, 4, 0)
    assert info.algorithmic_latency_ms == 4 * 40 + 15
    assert info.bytes_on_disk > 9000
    samples = (0.1 * np.random.default_rng(1).standard_normal(17000)).astype(np.float32)
    record = recognise(engine, samples, StageClock())
    expected = Recognizer.load(bundle)(samples)
    assert record.tokens == expected.token_int and record.frames == expected.frames
    assert engine.text(record.tokens) == expected.text
    assert set(record.total().stage_wall) == {"features", "encoder", "decoder"}
    assert len(record.chunks) == 1 + (17000 - 2800) // 2560


@pytest.mark.parametrize("tokens", ["salad", "later", "restored"])
def test_the_share_of_frames_that_it_computes(bundle, tiny_model, speech, tokens):
    waves, model = [speech(1.3), speech(0.7), np.zeros(0, np.float32)], tiny_model(tokens=tokens)
    assert build(RowSpec("runtime", str(bundle))).keep_ratio(waves) is None
    theirs = torch_engine(Speech2Text.from_model(model, "ahead"), "row")
    dropping = make_bundle(model, "ahead", None, "fp32", "char", Origin("", ""))
    ours = RuntimeEngine(Recognizer(dropping), theirs.info)
    assert 0.1 < ours.keep_ratio(waves) < 1.0
    assert ours.keep_ratio(waves) == pytest.approx(theirs.keep_ratio(waves))


def test_its_memory_is_measured_without_torch(bundle):
    code = f"""
import json, runpy, sys, io
sys.stdin = io.StringIO(json.dumps({{"spec": {{"kind": "runtime", "folder": {str(bundle)!r}}},
                                    "files": []}}))
runpy.run_module({MODULE!r}, run_name="__main__")
heavy = [name for name in ("torch", "espnet2", "espnet") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "peak_bytes" in done.stdout
