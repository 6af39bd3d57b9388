"""Options of a search."""

import pytest

from espnet2_supernet.decode.options import DecodeOptions
from espnet2_supernet.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_size", 0),
        ("beam_size", 2.5),
        ("nbest", True),
        ("max_symbols", 0),
        ("max_symbols", "3"),
        ("lm_weight", -0.1),
        ("lm_weight", float("nan")),
        ("lm_weight", "0.3"),
        ("length_bonus", float("inf")),
        ("length_bonus", None),
    ],
)
def test_a_value_without_meaning_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name}: "):
        DecodeOptions.parse({"search": "beam", name: value})


def test_what_greedy_search_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="search: beam"):
        DecodeOptions(lm_weight=0.5)


def test_usual_values_pass():
    options = DecodeOptions.parse(
        {"search": "beam", "lm_weight": 1, "length_bonus": -0.5, "max_symbols": 4}
    )
    assert options.to_dict()["max_symbols"] == 4 and DecodeOptions().max_symbols is None
