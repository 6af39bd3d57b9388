"""Which trainings DistributedDataParallel has to be told about."""

from types import SimpleNamespace

import pytest

from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.train.trainer import may_leave_parameters_unused

ROWS = {"whole": None, "low": {"depth": 2}}
FIRST = {"always": ["a"], "extra": 1}
SOME = {"always": ["low"], "extra": 1}


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"subnets": ROWS}, False),  # the whole network is trained in every step
        ({"subnets": ROWS | {"lower": {"depth": 1}}, "sampling": SOME}, True),
        ({"subnets": {"a": None, "b": None}, "sampling": FIRST}, False),
        ({"subnets": {"a": None, "b": None}, "sampling": FIRST,
          "layer_norm": "per_subnet"}, True),
        ({"subnets": {"a": None, "b": {"head": "own"}}, "sampling": FIRST}, True),
        ({"subnets": ROWS, "sampling": {"by_layerdrop": ["low"]},
          "layer_norm": "per_subnet"}, True),
    ],
)  # fmt: skip
def test_steps_may_leave_parameters_out(conf, expected):
    model = SimpleNamespace(supernet_config=SupernetConfig.parse(conf))
    assert may_leave_parameters_unused(model) is expected
