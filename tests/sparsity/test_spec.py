import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.n_m import NM
from espnet2_supernet.sparsity.spec import MaskSpec


def test_round_trip():
    block = {
        "pattern": {"block": [16, 1]},
        "sparsity": 0.7,
        "score": "taylor",
        "ranking": "global",
        "include": ["feed_forward"],
        "exclude": "layers\\.0\\.",
    }
    spec = MaskSpec.parse(block)
    assert MaskSpec.parse(spec.to_dict()) == spec


def test_n_m_fixes_the_sparsity():
    assert MaskSpec.parse({"pattern": {"n_m": [1, 4]}}) == MaskSpec(NM(1, 4), 0.75)
    with pytest.raises(ConfigError, match="n_m 1:4 means 0.75"):
        MaskSpec.parse({"pattern": {"n_m": [1, 4]}, "sparsity": 0.7})


def test_layers_are_chosen_by_name():
    spec = MaskSpec.parse(
        {"pattern": "elementwise", "sparsity": 0.5, "include": "layers", "exclude": ["layers.0"]}
    )
    names = ["layers.0.fc", "layers.1.fc", "embed"]
    assert [spec.selects(name) for name in names] == [False, True, False]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sparsty": 0.5}, "did you mean 'sparsity'"),
        ({"sparsity": 1.0}, "between 0 and 1"),
        ({"sparsity": 70}, "between 0 and 1"),
        ({"sparsity": None}, "between 0 and 1"),
        ({"score": "size"}, "unknown score"),
        ({"ranking": "all"}, "layer, kind or global"),
        ({"include": ["("]}, "no regular expression"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ConfigError, match=message):
        MaskSpec.parse({"pattern": "elementwise", "sparsity": 0.5, **change})


def test_refuses_what_is_no_block():
    with pytest.raises(ConfigError, match="pattern is missing"):
        MaskSpec.parse({"sparsity": 0.5}, "supernet_conf.subnets.device.mask")
    with pytest.raises(ConfigError, match="write a block"):
        MaskSpec.parse(0.7)
