"""The README's Python runs as it stands, on a tiny trained model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
SAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PACKAGE = Path(__file__).parents[1] / "espnet2_supernet"


@pytest.mark.parametrize("sample", SAMPLES, ids=["ours", "stock", "bundle"])
def test_sample_decodes(sample, trained, capsys):
    if "bundle_device" in sample:
        from espnet2_supernet.bin import bundle

        model = ["--asr_model_file", str(trained / "valid.loss.ave.pth"), "--subnet", "device"]
        bundle.main([*model, "--output_dir", str(trained / "bundle_device")])
    speech = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    names = {"speech": speech, "microphone": np.array_split(speech, 5)}
    exec(sample.replace("exp/asr_x", str(trained)), names)
    assert isinstance(names["text"], str)
    assert len(names["tokens"]) == len(names["token_ids"])
    if "session" in names:
        assert capsys.readouterr().out.splitlines()[-1] == names["text"]


def test_files_of_the_package_that_are_named_exist():
    folders = "sparsity|asr|encoder|data|bin|export"
    names = re.findall(rf"`((?:{folders})/[\w/]*(?:\.py)?|registry\.py)`", README)
    assert len(names) >= 8
    for name in names:
        assert (PACKAGE / name).exists(), name


def test_options_of_recipes_exist():
    folder = PACKAGE.parent / "egs/TEMPLATE"
    script = "".join(
        (folder / name).read_text()
        for name in ("supernet1/supernet.sh", "light1/light.sh", "damon1/damon.sh")
    )
    lines = re.findall(r"\./run\.sh .*(?:\n    --.*)?", README)
    options = {name for line in lines for name in re.findall(r"--([a-z_]+)", line)}
    for name in options - {"help", "partial", "held_out_speakers", "init_param"}:
        assert re.search(rf"^{name}=", script, re.MULTILINE), name
