"""The presets of structured pruning: each is a table that a model can be built with."""

from pathlib import Path

import pytest
import torch
import yaml

from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.supernet import Supernet

ROOT = Path(__file__).parents[2]
PRESETS = sorted(ROOT.glob("egs/*/damon1/conf/pruning/*.yaml"))
UPDATES = 1000  # of egs/an4/damon1/conf/train.yaml


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_prunes_to_its_sparsity(path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = yaml.safe_load(path.read_text())
    assert list(given) == ["supernet_conf"]
    encoder = SupernetConformerEncoder(
        80, 16, 4, 64, num_blocks=2, convolution_channels=32, attention_head_size=32
    )
    supernet = Supernet(encoder, SupernetConfig.parse(given["supernet_conf"]))
    pruner = supernet.pruner()
    if path.stem == "dense":
        assert pruner is None
        return
    pruner.set_total_steps(UPDATES)
    schedule = pruner.schedule
    updates = [step for step in range(1, UPDATES + 1) if schedule.is_update(step)]
    assert updates and updates[-1] == schedule.end <= UPDATES
    if path.stem not in ("parp", "parp_p"):
        assert schedule.end <= 0.75 * UPDATES  # the rest is fine-tuned under the last mask
    if path.stem in ("imp", "imp_rewind"):
        assert len(updates) == 6
    for step in updates:
        pruner.step.fill_(step)
        pruner.update_masks()
    assert pruner.finished
    report = pruner.sparsity_report()["device"]
    assert report["prunable"] == pytest.approx(0.5, abs=0.02)
