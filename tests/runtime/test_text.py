"""Tokens to text without a tokeniser."""

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime import text


@pytest.mark.parametrize(
    ("token_type", "tokens", "expected"),
    [
        ("char", ["H", "I", "<space>", "A"], "HI A"),
        ("word", ["HI", "A"], "HI A"),
        ("bpe", ["\u2581HE", "LLO", "\u2581", "W"], "HELLO W"),
        (None, ["\u2581HE"], None),
    ],
)
def test_tokens_become_text(token_type, tokens, expected):
    decoder = text.TextDecoder(tokens, text.joiner(token_type))
    assert decoder.text(decoder.tokens(range(len(tokens)))) == expected


def test_other_types_are_named():
    with pytest.raises(ConfigError, match="token_type 'phn': char, word, bpe"):
        text.joiner("phn")
