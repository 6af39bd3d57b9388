"""The fallback's result.txt is read by the parser of sclite's."""

from espnet2_supernet.report.counts import Counts
from espnet2_supernet.report.sclite import parse_sum_row, parse_utterances
from espnet2_supernet.report.sclite_table import render_tables


def test_rendered_tables_are_parsed_back():
    counts = {"u1": Counts(3, 1, 0, 0), "u2": Counts(0, 0, 0, 2), "u3": Counts(123456, 0, 4, 0)}
    speakers = {"u1": "a", "u2": "a", "u3": "a_rather_long_speaker"}
    text = render_tables(counts, speakers, "a test")
    row = parse_sum_row(text, "x")
    assert row.counts == Counts(123459, 1, 4, 2)
    assert (row.sentences, row.tokens, row.sentence_errors) == (3, 123464, 3)
    assert row.percentages == (100.0, 0.0, 0.0, 0.0, 0.0, 100.0)
    names = {key: f"{speakers[key]}-{key}" for key in counts}
    assert parse_utterances(text, names, "x") == counts
    assert "Scored by a test, not by sclite" in text
    assert "| a_rather_long_speaker |" in text
