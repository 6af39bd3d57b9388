"""The declaration of a token-keep rule in a table."""

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet import Context, SupernetConfig
from espnet2_supernet.supernet.tokens import TokenSpec

DEVICE = {"chunk_size": 8, "left_context": 16}


def table(tokens, context="full", **rest):
    return {"subnets": {"server": None, "device": {"context": context, "tokens": tokens}}, **rest}


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "none"},
        {"kind": "salad"},
        {"kind": "salad", "threshold": 0.3, "positions": "compacted"},
        {"kind": "energy", "threshold": -0.5},
        {"kind": "random", "keep_ratio": 0.5, "seed": 3},
        {"kind": "downsample", "factor": 3, "merge": "mean"},
        {"kind": "salad", "before_block": 3},
        {"kind": "downsample", "before_block": 2, "restore_before_block": 4},
        {"kind": "salad", "restore_before_block": 2, "restored": "last_change"},
    ],
)
def test_round_trip(spec):
    config = SupernetConfig.parse(table(spec, DEVICE))
    assert SupernetConfig.parse(config.to_dict()) == config
    written = config.to_dict()["subnets"]["device"]["tokens"]
    assert spec.items() <= written.items() and "tokens" not in config.to_dict()["subnets"]["server"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("salad", "write a block"),
        ({}, "kind: one of none, salad, energy, random, downsample"),
        ({"kind": "sallad"}, "got 'sallad'"),
        ({"kind": "salad", "treshold": 0.5}, "did you mean 'threshold'"),
        ({"kind": "salad", "factor": 2}, "unknown key 'factor'"),
        ({"kind": "none", "keep_ratio": 0.5}, "unknown key 'keep_ratio'"),
        ({"kind": "none", "merge": "mean"}, "unknown key 'merge'"),
        ({"kind": "salad", "threshold": 0}, "a probability inside"),
        ({"kind": "salad", "threshold": True}, "a number"),
        ({"kind": "salad", "keep_ratio": 0}, "above 0, at most 1"),
        ({"kind": "salad", "keep_ratio": 1.5}, "above 0, at most 1"),
        ({"kind": "salad", "keep_ratio": 0.5, "threshold": 0.5}, "not both"),
        ({"kind": "salad", "positions": "relative"}, "write original or compacted"),
        ({"kind": "salad", "merge": True}, "write none or mean, got True"),
        ({"kind": "energy"}, "needs a threshold or a keep_ratio"),
        ({"kind": "random"}, "needs a keep_ratio"),
        ({"kind": "downsample", "factor": 1}, "a whole number from 2"),
        ({"kind": "random", "keep_ratio": 0.5, "seed": -1}, "a whole number from 0"),
        ({"kind": "salad", "before_block": 0}, "before_block: a whole number from 1, got 0"),
        ({"kind": "salad", "before_block": True}, "before_block: a whole number from 1"),
        ({"kind": "salad", "before_blocks": 2}, "did you mean 'before_block'"),
        ({"kind": "none", "before_block": 2}, "unknown key 'before_block'"),
        ({"kind": "salad", "before_block": 2, "merge": "mean"}, "leave merge or before_block out"),
        ({"kind": "salad", "restore_before_block": 1}, "above before_block, 1; got 1"),
        ({"kind": "salad", "restore_before_block": 2.5}, "restore_before_block: a whole number"),
        ({"kind": "salad", "before_block": 3, "restore_before_block": 3}, "above before_block, 3"),
        ({"kind": "salad", "restored": "last_change"}, "give restore_before_block, too"),
        (
            {"kind": "salad", "restore_before_block": 2, "restored": "mean"},
            "write unchanged or last_change",
        ),
        (
            {"kind": "energy", "threshold": 0, "restore_before_block": 2, "merge": "mean"},
            "leave merge or restore_before_block out",
        ),
    ],
)
def test_what_cannot_be_read_is_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        SupernetConfig.parse(table(spec))


@pytest.mark.parametrize("kind", ["salad", "energy"])
def test_a_rank_over_the_utterance_cannot_stream(kind):
    spec = {"kind": kind, "keep_ratio": 0.5}
    config = SupernetConfig.parse(table(spec))
    with pytest.raises(ConfigError, match="subnets.device: tokens.keep_ratio ranks the frames"):
        SupernetConfig.parse(table(spec, DEVICE))
    # nor when a chunk is asked for at decoding
    with pytest.raises(ConfigError, match="give a threshold"):
        config.subnets["device"].resolve(Context(chunk_size=4), allow_untrained=True)


def test_random_draws_can_stream():
    assert not TokenSpec.parse({"kind": "random", "keep_ratio": 0.5}).sees_utterance
    SupernetConfig.parse(table({"kind": "random", "keep_ratio": 0.5}, DEVICE))


def test_a_teacher_that_drops_frames_is_refused():
    conf = table({"kind": "downsample"}, distillation={"weight": 0.1, "teacher": "device"})
    with pytest.raises(ConfigError, match="'device' drops frames"):
        SupernetConfig.parse(conf)
    SupernetConfig.parse(table({"kind": "downsample"}, distillation={"weight": 0.1}))
