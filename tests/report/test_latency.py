"""Algorithmic latency from decode.yaml, and how latency is printed."""

import math

import pytest

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.latency import (
    MeasuredLatency,
    algorithmic_latency_ms,
    latency_text,
)

CHUNKED = {"chunk_size": 16, "left_context": 64, "right_context": 4}


def test_latency_is_chunk_plus_right_context_plus_look_ahead():
    decode = {"context": CHUNKED, "frame_ms": 40, "lookahead_ms": 55.0}
    assert algorithmic_latency_ms(decode) == 16 * 40 + 4 * 40 + 55
    assert latency_text(algorithmic_latency_ms(decode)) == "855 ms"


@pytest.mark.parametrize(
    "context", ["full", {"chunk_size": None, "left_context": 0, "right_context": 0}]
)
def test_full_context_waits_for_the_utterance(context):
    latency = algorithmic_latency_ms({"context": context})
    assert math.isinf(latency)
    assert latency_text(latency) == "utterance"


def test_an_unknown_context_is_a_dash():
    assert algorithmic_latency_ms({}) is None
    assert latency_text(None) == "-"


@pytest.mark.parametrize("missing", ["frame_ms", "lookahead_ms"])
def test_a_chunk_without_its_time_is_an_error(missing):
    decode = {"context": CHUNKED, "frame_ms": 40, "lookahead_ms": 55.0}
    del decode[missing]
    with pytest.raises(DataError, match=missing):
        algorithmic_latency_ms(decode, "x/decode.yaml")


def test_a_malformed_context_is_an_error_naming_the_file():
    with pytest.raises(ConfigError, match=r"x/decode\.yaml"):
        algorithmic_latency_ms({"context": {"chunk": 16}}, "x/decode.yaml")


def test_measured_latency_is_printed():
    assert MeasuredLatency().delay_text == MeasuredLatency().real_time_factor_text == "-"
    measured = MeasuredLatency(320.4, 511, 0.0421, "EPYC", 1)
    assert measured.delay_text == "320 / 511"
    assert measured.real_time_factor_text == "0.042 (EPYC, 1 thread)"
