"""``--use_ssl true`` failed in the LibriSpeech recipes: they had no ``conf/train_ssl.yaml``."""

import re
from pathlib import Path

import pytest

EGS = Path(__file__).parents[2] / "egs"
DEFAULTS = re.findall(
    r"^\w+_config=(conf/\S+)", (EGS / "TEMPLATE/supernet1/supernet.sh").read_text(), re.MULTILINE
)
RECIPES = sorted(p.parent for p in EGS.glob("*/supernet1/run.sh") if "TEMPLATE" not in p.parts)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_every_recipe_has_the_configurations_of_the_defaults(recipe):
    assert {"conf/train.yaml", "conf/train_ssl.yaml", "conf/decode.yaml"} <= set(DEFAULTS)
    for name in DEFAULTS:
        assert (recipe / name).is_file(), name
