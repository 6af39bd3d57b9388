import random
from collections import Counter

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.sampling import Sampling, parse_sampling
from espnet2_supernet.supernet.subnet import Subnet

TABLE = {
    "big": Subnet("big", (Context(),)),
    "mid": Subnet("mid", (Context(32), Context(16))),
    "low": Subnet("low", (Context(8),)),
    "small": Subnet("small", (Context(4), Context(2), Context(1))),
}
WEIGHTS = {"big": 0.4, "mid": 0.3, "low": 0.2, "small": 0.1}
SANDWICH = Sampling(seed=0, always=("big", "small"), extra=1)


def draw(step, sampling=SANDWICH):
    return [(subnet.name, context.chunk_size, weight)
            for subnet, context, weight in sampling.draw(TABLE, WEIGHTS, step)]  # fmt: skip


def test_by_default_all_are_trained():
    everything = parse_sampling(None, list(TABLE))
    rows = draw(0, everything)
    assert [(name, weight) for name, _, weight in rows] == list(WEIGHTS.items())


def test_sandwich_draws_one_between():
    counts = Counter(name for step in range(1000) for name, _, _ in draw(step))
    assert counts["big"] == counts["small"] == 1000
    assert counts["mid"] + counts["low"] == 1000 and 400 < counts["mid"] < 600


def test_expected_weights_are_the_loss_weights():
    total = Counter()
    for step in range(4000):
        for name, _, weight in draw(step):
            total[name] += weight / 4000
    assert total == pytest.approx(WEIGHTS, rel=0.06)


def test_contexts_are_drawn_evenly():
    counts = Counter(dict((n, c) for n, c, _ in draw(step))["small"] for step in range(3000))
    assert all(count == pytest.approx(1000, rel=0.1) for count in counts.values())


def test_draws_depend_on_seed_and_step_only():
    here = [draw(step) for step in range(20)]
    assert here == [draw(step) for step in range(20)]
    assert here != [draw(step, Sampling(1, ("big", "small"), 1)) for step in range(20)]


def test_the_generator_is_the_same_everywhere():
    generator = random.Random("7-3")  # seeded by text, so PYTHONHASHSEED has no say
    assert f"{generator.sample(range(9), 3)} {generator.choice('abc')}" == "[3, 1, 8] b"


@pytest.mark.parametrize(
    "spec, message",
    [
        (3, "write {seed"),
        ({"always": "big"}, "a list of subnet names"),
        ({"always": ["bigg"]}, "no subnet 'bigg'; there are: big"),
        ({"always": ["big"]}, "mid, low, small would never be trained"),
        ({"extra": 1}, "1 wanted, 0 subnets are not in always"),
        ({"seed": -1}, "whole number from 0"),
        ({"extra": True}, "whole number from 0"),
    ],
)
def test_refuses(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_sampling(spec, list(TABLE))
