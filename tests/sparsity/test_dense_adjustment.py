"""PARP: all weights train between updates, which set what they prune to zero."""

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.schedule_spec import parse_schedule

PARP = {"kind": "constant", "begin": 2, "end": 8, "update_every": 3, "adjust": "dense"}


@pytest.fixture
def parp(training):
    return lambda: training(PARP)


def pruned_weights(run):
    layers = [m for m in run.net.modules() if isinstance(m, MaskedLinear)]
    return torch.cat([layer.weight[~layer.mask("device")] for layer in layers])


def test_pruned_weights_are_zero_then_train_and_the_mask_holds_at_the_end(parp, activate):
    run = parp()
    for _ in range(2):
        run.step()
    assert (pruned_weights(run) == 0).all() and pruned_weights(run).numel() > 0
    run.step()
    assert (pruned_weights(run) != 0).any()  # all weights train
    x = torch.randn(4, 6)
    trained = run.net(x)
    run.model.eval()
    deployed = run.net(x)
    activate(run.net, None)
    assert torch.equal(run.net(x), trained) and not torch.equal(trained, deployed)
    activate(run.net, "device")
    run.model.train()
    while int(run.pruner.step) < 8:
        run.step()
    assert run.pruner.frozen and (pruned_weights(run) == 0).all()
    in_training = run.net(x)
    run.model.eval()
    assert torch.equal(run.net(x), in_training)


def test_a_resumed_adjustment_trains_all_weights(parp):
    run, resumed = parp(), parp()
    for _ in range(3):
        run.step()
    resumed.model.load_state_dict(run.model.state_dict())
    x = torch.randn(4, 6)
    assert torch.equal(resumed.net(x), run.net(x))


def test_refuses():
    with pytest.raises(ConfigError, match="adjust: write masked or dense"):
        parse_schedule({**PARP, "adjust": "sparse"})
    with pytest.raises(ConfigError, match="needs freeze: true"):
        parse_schedule({**PARP, "freeze": False})
    assert "adjust" not in parse_schedule({"kind": "cubic"}).to_dict()
    assert parse_schedule(PARP).to_dict()["adjust"] == "dense"
