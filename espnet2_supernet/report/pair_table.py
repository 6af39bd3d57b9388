"""The table of paired tests."""

from __future__ import annotations

from collections.abc import Sequence

from espnet2_supernet.report.latency import DASH
from espnet2_supernet.report.markdown import markdown_table
from espnet2_supernet.report.pairs import Pair
from espnet2_supernet.report.significance import Bootstrap, holm


def pair_table(pairs: Sequence[Pair], method: Bootstrap, metric: str = "WER") -> list[str]:
    """Render the paired tests, each p value also corrected for the number of them all.

    Args:
        pairs: The tests.
        method: How they resampled.
        metric: What was compared.

    Returns:
        Lines of Markdown.
    """
    if not pairs:
        return ["No two rows to compare share a test set."]
    tests = [pair.test for pair in pairs if pair.test is not None]
    corrected = iter(holm([test.p_value for test in tests]))
    rows = []
    for pair in pairs:
        cells, test = [pair.test_set, pair.first, pair.second], pair.test
        if test is None:
            rows.append([*cells, *[DASH] * 4])
            continue
        # No bootstrap can tell a p value below this one
        bound = "<= " if test.p_value <= 2.0 / (test.interval.resamples + 1) else ""
        between = f"[{test.interval.low:+.2f}, {test.interval.high:+.2f}]"
        values = [f"{bound}{value:.4f}" for value in (test.p_value, next(corrected))]
        rows.append([*cells, f"{test.difference:+.2f}", between, *values])
    difference = f"{metric} A - B (points)"
    head = ["test set", "A", "B", difference, "95 % interval", "p (two-sided)", "p (Holm)"]
    return [
        *markdown_table(head, rows),
        "",
        f"Paired bootstrap (Bisani and Ney 2004), {method.resamples} resamples, seed "
        f"{method.seed}; p (Holm): corrected for all {len(tests)} tests of this table (Holm 1979).",
    ]
