"""A misspelt key of a token-keep rule was accepted if it had no value."""

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.tokens import TokenSpec


def test_an_unknown_key_is_an_error_whatever_its_value():
    with pytest.raises(ConfigError, match="unknown key 'treshold'; did you mean 'threshold'"):
        TokenSpec.parse({"kind": "salad", "treshold": None})


def test_a_key_of_another_kind_can_be_taken_back():
    spec = TokenSpec.parse({"kind": "downsample", "factor": 3, "keep_ratio": None})
    assert spec == TokenSpec("downsample", factor=3)
