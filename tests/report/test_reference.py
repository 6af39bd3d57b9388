"""What a row is compared with: a row of its latency, of its name or subnet if there is one."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.report.latency import MeasuredLatency
from espnet2_supernet.report.reference import Reference, choose_pairs, find_reference
from espnet2_supernet.report.results import Decode


def decode(expdir, subnet, latency, tag=""):
    name = f"decode_{subnet}{tag}"
    return Decode(Path(expdir), name, f"{expdir}/{subnet}{tag}", subnet, {}, None, latency,
                  MeasuredLatency(), "")  # fmt: skip


ROWS = [
    decode("a", "server", math.inf),
    decode("a", "device", 655.0),
    decode("a", "device", 655.0, "_beam"),
    decode("b", "server", math.inf),
    decode("b", "device", 655.0, "_beam"),
    decode("b", "half", 655.0),
    decode("b", "phone", 335.0),
]


def test_the_row_of_the_same_work():
    reference = Reference(Path("a"))
    found = [reference.row_for(row, ROWS) for row in ROWS]
    assert found == [*ROWS[:3], ROWS[0], ROWS[2], ROWS[1], None]
    fixed = Reference(Path("b"), "phone")
    assert {id(fixed.row_for(row, ROWS)) for row in ROWS} == {id(ROWS[6])}


def test_what_the_option_names():
    assert find_reference("a/", ROWS, "--reference") == Reference(Path("a"))
    assert find_reference("b:half", ROWS, "--reference") == Reference(Path("b"), "half")
    colon = [replace(row, expdir=Path("a:x")) for row in ROWS]
    assert find_reference("a:x", colon, "--reference") == Reference(Path("a:x"))
    for text, message in (("c", "--against: unknown key 'c'"), ("b:hlf", "mean 'half'"),
                          (":half", "no EXPDIR:SUBNET")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            find_reference(text, ROWS, "--against")


def test_each_pair_once():
    pairs = choose_pairs(ROWS, [Reference(Path("a")), Reference(Path("b"))])
    labels = [(first.label, second.label) for first, second in pairs]
    assert labels[:3] == [
        ("b/server", "a/server"), ("b/device_beam", "a/device_beam"), ("b/half", "a/device")
    ]  # fmt: skip
    assert len({frozenset(pair) for pair in labels}) == len(labels)
