import math

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context, parse_contexts


def test_latency_and_words():
    context = Context(16, 64, 4)
    assert context.algorithmic_latency_ms(40, 55) == 20 * 40 + 55
    assert context.describe(40) == "chunk 640 ms, left 2560 ms, right 160 ms"
    assert Context().describe(40) == "full context"
    assert math.isinf(Context().algorithmic_latency_ms(40))


def test_lists_multiply_out_and_the_first_is_the_default():
    contexts = parse_contexts({"chunk_size": [16, 8], "left_context": [64, 32]})
    assert contexts == (Context(16, 64), Context(16, 32), Context(8, 64), Context(8, 32))


def test_lists_of_blocks_join():
    contexts = parse_contexts(["full", {"chunk_size": [8, 8]}, {"chunk_size": 8}])
    assert contexts == (Context(), Context(8))


@pytest.mark.parametrize("context", [Context(), Context(8), Context(16, 64, 4)])
def test_round_trip(context):
    assert Context.parse(context.to_dict()) == context


@pytest.mark.parametrize(
    "spec, message",
    [
        (None, "write 'full'"),
        ("chunked", "write 'full'"),
        ([], "write 'full'"),
        ({"chunk": 16}, "ctx: unknown key 'chunk'; did you mean 'chunk_size'"),
        ({"left_context": 16}, "chunk_size is missing"),
        ({"chunk_size": 0}, "ctx: chunk_size must be a whole number of encoder frames, at least 1"),
        ({"chunk_size": -1}, "at least 1"),
        ({"chunk_size": 16.0}, "whole number"),
        ({"chunk_size": True}, "whole number"),
        ({"chunk_size": 4, "left_context": -1}, "left_context must"),
        ({"chunk_size": 4, "right_context": "2"}, "right_context must"),
        ({"chunk_size": []}, "empty list"),
    ],
)
def test_refuses(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_contexts(spec, "ctx")


def test_full_context_has_no_bounds():
    with pytest.raises(ConfigError, match="full context has no left_context"):
        Context(None, 5)


def test_one_context_where_one_is_wanted():
    with pytest.raises(ConfigError, match="one context wanted, got 2"):
        Context.parse({"chunk_size": [8, 16]})
