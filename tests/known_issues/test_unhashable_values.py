"""A list or a number in the place of a name ended in a TypeError instead of an error message."""

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig

MASK = {"pattern": "elementwise", "sparsity": 0.5}
KINDS = {"structured": {"kinds": [["linear_units"]]}}


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"schedule": {"kind": ["cubic"]}}, "schedule.kind"),
        ({"subnets": {"a": {"mask": ["b"]}}}, "a.mask"),
        ({"subnets": {"a": {"mask": MASK | {"score": ["magnitude"]}}}}, "mask.score"),
        ({"subnets": {"a": {"mask": MASK | {"include": 5}}}}, "mask.include"),
        ({"subnets": {"a": {"mask": MASK | {"pattern": KINDS}}}}, "structured.kinds"),
        ({"subnets": {"a": {"tokens": {"kind": ["salad"]}}}}, "tokens.kind"),
    ],
)
def test_the_key_is_named(block, key):
    with pytest.raises(ConfigError, match=key):
        SupernetConfig.parse(block)
