"""A training that started with ``--init_param`` was charged the batches of the one before, too.

ESPnet copies the count of batches with the other tensors, and the training before did not count.
"""

import json

import pytest
import torch

from espnet2_supernet.bin import asr_train, training_cost
from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.report.training import cost_text
from espnet2_supernet.tasks import training_cost as module

LARGE = 4 * 4 * (2 + 2)  # epochs x batches x (two subnets of two blocks)
EPOCH = LARGE // 4


def train(tiny_corpus, folder, **changes):
    """Train for one epoch."""
    config = tiny_corpus.write_config(folder / "train.yaml", max_epoch=1, **changes)
    asr_train.main(["--config", str(config), "--output_dir", str(folder / "exp")])
    return folder / "exp"


def test_what_init_param_brought_counts_where_it_was_made(tiny_corpus, trained, tmp_path, capsys):
    first = str(trained / "valid.loss.ave.pth")
    second = train(tiny_corpus, tmp_path / "a", init_param=[first])
    states = torch.load(second / "latest.pth", weights_only=True)
    assert int(states["num_batches"]) > 4
    assert module.training_cost(second) == module.TrainingCost(EPOCH, EPOCH + LARGE, 4)
    lone = tmp_path / "lone.pth"
    torch.save(states, lone)
    given = [f"{first}:encoder:encoder", f"{second}/1epoch.pth:::num", str(lone) + ":ctc:ctc"]
    third = train(tiny_corpus, tmp_path / "b", init_param=given)
    training_cost.main(["--expdir", str(third)])
    content = json.loads((third / "training_cost.json").read_text())
    assert content["own"] == EPOCH and content["chain"] == 2 * EPOCH + LARGE
    assert content["uncounted"] == [str(lone)]
    assert f"not counted: what {lone} cost" in capsys.readouterr().out
    assert cost_text(third) == "0.0 / >0.1"
    lone.unlink()
    with pytest.raises(CheckpointError, match="init_param: .*lone.pth: no such file.* put it back"):
        module.training_cost(third)
