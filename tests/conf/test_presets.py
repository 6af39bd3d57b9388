"""The presets build, and have the sizes that they are named for."""

import argparse
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
PRESETS = sorted(CONF.glob("train_*.yaml"))
RECIPES = sorted(CONF.parent.glob("egs/*/supernet1/conf/**/train*.yaml"))
MILLIONS = {"train_tiny": (0, 0.2), "train_small": (4.5, 5.5), "train_base": (25, 31)}


def build(path: Path, vocab_size: int):
    """Build the model of a training configuration, without the statistics of a corpus."""
    from espnet2_supernet.tasks.asr import SupernetASRTask

    args = SupernetASRTask.get_default_config() | yaml.safe_load(path.read_text())
    tokens = ["<blank>", "<unk>", *map(str, range(vocab_size - 3)), "<sos/eos>"]
    args |= {"token_list": tokens, "normalize": None}
    return SupernetASRTask.build_model(argparse.Namespace(**args))


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_preset_has_its_size(path):
    model = build(path, 4097 if "emformer" in path.stem else 500)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if path.stem == "train_emformer_rnnt":
        # torchaudio's README says 76.7 M, of which 62.9 M in the encoder's matrices
        assert round(millions, 1) == 76.7
        counts = model.supernet.counts("device")
        assert round(counts["prunable"] / 1e6, 1) == 62.9
    else:
        low, high = MILLIONS[path.stem]
        assert low < millions < high


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: "/".join(p.parts[-5:]))
def test_recipe_config_builds(path):
    model = build(path, 40)
    assert set(model.supernet.subnets) <= {"server", "device"}
