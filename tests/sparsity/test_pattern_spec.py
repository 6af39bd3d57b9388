import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.pattern import Block, Elementwise, Structured
from espnet2_supernet.sparsity.pattern_spec import parse_pattern

GOOD = {
    "elementwise": ("elementwise", Elementwise()),
    "block": ({"block": [16, 1]}, Block(16, 1)),
    "n_m": ({"n_m": [2, 4]}, NM(2, 4)),
    "rows": ({"structured": "output"}, Structured("output")),
    "heads": ({"structured": ["output", 64]}, Structured("output", 64)),
}


@pytest.mark.parametrize("spec, pattern", GOOD.values(), ids=GOOD)
def test_reads_and_writes(spec, pattern):
    assert parse_pattern(spec) == pattern
    assert parse_pattern(pattern.to_spec()) == pattern


@pytest.mark.parametrize(
    "spec, message",
    [
        ("blocks", "write elementwise"),
        (None, "write elementwise"),
        ({"block": [16, 1], "n_m": [2, 4]}, "write elementwise"),
        ({"blok": [16, 1]}, "did you mean 'block'"),
        ({"block": 16}, "two whole numbers"),
        ({"block": [0, 1]}, "from 1"),
        ({"block": [True, 1]}, "from 1"),
        ({"n_m": [4, 4]}, "fewer than 4"),
        ({"structured": "rows"}, "output .rows. or input"),
        ({"structured": {"kinds": ["units"], "min_kept": 0}}, "min_kept.* whole number from 1"),
        ({"structured": {"kinds": ["units"], "min_kept": {"units": 0}}}, "whole number from 1"),
    ],
)
def test_refuses(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_pattern(spec, "mask.pattern")
