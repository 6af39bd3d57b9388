"""Token-keep rules without torch: the decisions and the frames of those with torch."""

import numpy as np
import pytest
import torch

from espnet2_supernet.damon.rules import make_rules
from espnet2_supernet.runtime.bundle.keep_rule import KeepRule
from espnet2_supernet.runtime.layers.keep_rules import make_rule
from espnet2_supernet.supernet import SupernetConfig

RULES = {
    "salad": {"kind": "salad", "threshold": 0.4},
    "energy": {"kind": "energy", "threshold": 0.05},
    "random": {"kind": "random", "keep_ratio": 0.3, "seed": 7},
    "downsample": {"kind": "downsample", "factor": 3},
}
FACTOR = 4


def both(spec, **detector):
    """A rule of the model and that of its bundle."""
    torch.manual_seed(0)
    config = SupernetConfig.parse({"subnets": {"server": {"tokens": spec}}})
    given = detector if spec["kind"] == "salad" else None
    rules, made = make_rules(config, 16, True, given)
    weights = {}
    if made is not None:
        made.threshold.fill_(0.5)
        torch.nn.init.normal_(made.norm.weight)
        torch.nn.init.normal_(made.linear_out.weight, std=10.0)
        weights = {name: value.numpy() for name, value in made.state_dict().items()}
    return rules["server"], make_rule(KeepRule(**spec), weights)


@pytest.mark.parametrize("merge", ["none", "mean"])
@pytest.mark.parametrize("name", RULES)
def test_decisions_and_frames_are_the_same_in_pieces(name, merge):
    theirs, ours = both({**RULES[name], "merge": merge})
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((300, 16)).astype(np.float32)
    feats = rng.standard_normal((300 * FACTOR, 12)).astype(np.float32)
    with torch.no_grad():
        state = theirs.init_state(1)
        keep, expected, _ = theirs.decide(
            *(torch.from_numpy(x)[None] for x in (frames, feats)), state
        )
    assert 30 < int(keep.sum()) < 270 and keep[0, 0]
    state, start, found = ours.init_state(), 0, []
    for size in (1, 7, 2, 100, 190):
        part = slice(start, start + size)
        wide = slice(FACTOR * start, FACTOR * (start + size))
        found.append(ours.decide(frames[part].copy(), feats[wide], state))
        start += size
    assert np.array_equal(np.concatenate([k for k, _ in found]), keep[0].numpy())
    mine = np.concatenate([x for _, x in found])
    np.testing.assert_allclose(mine[keep[0]], expected[0][keep[0]], atol=1e-5)


@pytest.mark.parametrize("sizes", [(4, 1, 1), (3, 2, 3), (64, 9, 2)])
def test_detectors_of_all_sizes(sizes):
    names = ("channels", "kernel_size", "num_layers")
    theirs, ours = both(RULES["salad"], **dict(zip(names, sizes, strict=True)))
    frames = np.random.default_rng(2).standard_normal((50, 16)).astype(np.float32)
    with torch.no_grad():
        expected, _ = theirs.detector(torch.from_numpy(frames)[None])
    state = ours.init_state()
    found = [ours.scores(part, part, state) for part in (frames[:1], frames[1:20], frames[20:])]
    np.testing.assert_allclose(np.concatenate(found), expected[0], rtol=1e-4, atol=1e-4)


def test_a_detector_that_does_not_fit_is_named():
    _, ours = both(RULES["salad"])
    with pytest.raises(KeyError, match="norm.weight"):
        make_rule(ours.declared, {})
    weights = {f"{name}.bias": np.ones(2, np.float32) for name in ("linear_in", "linear_out")}
    weights |= {
        f"{name}.weight": np.ones((2, 2), np.float32) for name in ("linear_in", "linear_out")
    }
    weights |= {"norm.weight": np.ones(2, np.float32), "norm.bias": np.ones(2, np.float32)}
    with pytest.raises(ValueError, match="detector: matrices of 2"):
        make_rule(ours.declared, weights)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"kind": "loud"}, "kind: wanted one of salad, energy"),
        ({"kind": "salad"}, "threshold: wanted a probability, got None"),
        ({"kind": "salad", "threshold": 1.0}, "threshold"),
        ({"kind": "energy"}, "threshold: wanted a number"),
        ({"kind": "energy", "threshold": float("nan")}, "threshold"),
        ({"kind": "random"}, "keep_ratio: wanted a fraction"),
        ({"kind": "random", "keep_ratio": 1.5}, "keep_ratio"),
        ({"kind": "downsample", "factor": 1}, "factor: wanted a whole number from 2"),
        ({"kind": "downsample", "positions": "both"}, "positions"),
        ({"kind": "downsample", "merge": "sum"}, "merge"),
        ({"kind": "random", "keep_ratio": 0.5, "seed": -1}, "seed"),
        ({"kind": "downsample", "before_block": 0}, "before_block: wanted a whole number from 1"),
        ({"kind": "downsample", "before_block": 2, "merge": "mean"}, "merge: wanted 'none' with"),
        (
            {"kind": "downsample", "before_block": 2, "restore_before_block": 2},
            "restore_before_block: wanted a whole number above 2",
        ),
        ({"kind": "downsample", "restored": "last_change"}, "restored: wanted 'unchanged' where"),
        ({"kind": "downsample", "restore_before_block": 2, "restored": "both"}, "restored"),
        (
            {"kind": "downsample", "restore_before_block": 2, "merge": "mean"},
            "merge: wanted 'none' with",
        ),
    ],
)
def test_impossible_rules_are_refused(values, message):
    with pytest.raises(ValueError, match=f"keep_rule.{message}"):
        KeepRule(**values)
