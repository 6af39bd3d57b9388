"""RESULTS.md: ESPnet's shape, every number with its interval and its command."""

from dataclasses import replace

import pytest

from espnet2_supernet.report.latency import MeasuredLatency
from espnet2_supernet.report.markdown import markdown_table
from espnet2_supernet.report.pairs import compare
from espnet2_supernet.report.results import collect
from espnet2_supernet.report.significance import Bootstrap
from espnet2_supernet.report.table import Report, render, subnet_table

FAST = Bootstrap(resamples=200)


@pytest.fixture(scope="module")
def decodes(scored_once):
    return collect([scored_once])


def rows_below(lines, head):
    start = next(index for index, line in enumerate(lines) if line.startswith(head)) + 2
    end = next(index for index in range(start, len(lines)) if not lines[index].startswith("|"))
    return [line.strip("|").split("|") for line in lines[start:end]]


def test_page_has_every_part(decodes):
    pairs = compare(decodes, ["dev", "test"], FAST)
    page = render(Report(decodes, pairs, FAST, "report --x", {"plot": "images/a.png"}))
    titles = [line for line in page.splitlines() if line.startswith("#")]
    assert titles[:5] == ["# RESULTS", "## Environments", "## asr_x", "### WER", "### CER"]
    assert "- pytorch version: `pytorch " in page
    assert "Scored by: python (minimum edit distance)." in page
    assert "![plot](images/a.png)" in page
    for command in ("score server dev", "score device test", "report --x"):
        assert page.count(f"\n{command}\n") == 1
    assert "drawn over utterances" in page
    assert page.endswith("```\n")


def test_tables_of_espnet(decodes):
    lines = render(Report(decodes, [], FAST, "", {})).splitlines()
    rows = rows_below(lines, "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|")
    assert [row[0] for row in rows] == [
        "decode_server_greedy/dev", "decode_server_greedy/test",
        "decode_device_greedy/dev", "decode_device_greedy/test",
    ]  # fmt: skip
    assert all(len(row) == 9 and row[1:3] == ["30", "240"] for row in rows)
    total = decodes[0].score("dev").total
    assert rows[0][7] == f"{total.error_rate:.1f}"
    assert "No two rows to compare" in "\n".join(lines)


def test_table_of_subnets(decodes):
    slow = replace(decodes[1], measured=MeasuredLatency(300.0, 500.0, 0.05, "EPYC", 1))
    rows = rows_below([*subnet_table([decodes[0], slow]), ""], "|subnet|")
    interval = decodes[0].score("dev").interval
    rate = decodes[0].score("dev").total.error_rate
    assert rows[0][:2] == ["server", "server_greedy"]
    assert rows[0][2] == f"{rate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
    assert rows[0][4:] == ["1,000", "1,000", "0.00", "0.0 %", "0.0 %", "utterance", "-", "-"]
    assert rows[1][4:] == ["1,000", "440", "0.00", "70.0 %", "56.0 %", "695 ms", "300 / 500",
                           "0.050 (EPYC, 1 thread)"]  # fmt: skip


def test_unknown_sizes_and_unscored_sets_are_dashes(decodes):
    bare = replace(decodes[0], sets={"dev": decodes[0].sets["dev"]}, size=None, subnet="")
    rows = rows_below([*subnet_table([bare, decodes[1]]), ""], "|subnet|")
    assert rows[0][0] == rows[0][3] == "-"
    assert rows[0][4:9] == ["-"] * 5


def test_smallest_p_value_is_a_bound(decodes):
    pairs = compare(decodes, ["dev"], FAST)
    page = render(Report(decodes, pairs, FAST, "", {}))
    assert "|<= 0.0100|<= 0.0100|" in page
    assert "corrected for all 1 tests of this table" in page


def test_zero_errors_carry_a_warning(decodes):
    perfect = replace(decodes[0].sets["dev"]["wer"].score, utterances={})
    sets = {"dev": {"wer": replace(decodes[0].sets["dev"]["wer"], score=perfect)}}
    page = render(Report([replace(decodes[0], sets=sets)], [], FAST, "", {}))
    assert "[0, 0] is not a bound" in page


def test_a_bar_in_a_cell_is_escaped():
    assert markdown_table(["a"], [["x|y"]])[-1] == "|x\\|y|"
