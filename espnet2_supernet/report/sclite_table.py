"""sclite's two summary tables, written by the fallback scorer so that ESPnet's tools read them."""

from __future__ import annotations

from collections.abc import Mapping

from espnet2_supernet.report.counts import Counts, sum_counts

_TITLE = "SYSTEM SUMMARY {} by SPEAKER"
_HEAD = "# Snt # Wrd | Corr    Sub    Del    Ins    Err  S.Err "


def render_tables(counts: Mapping[str, Counts], speakers: Mapping[str, str], scorer: str) -> str:
    """Render counts as sclite's tables of percentages and of integers, by speaker.

    Args:
        counts: ``{utterance: counts}``.
        speakers: ``{utterance: speaker}``.
        scorer: Named in the first line.

    Returns:
        The text of ``result.txt``, the counts of every utterance included.
    """
    by_speaker: dict[str, list[Counts]] = {}
    for key, item in counts.items():
        by_speaker.setdefault(speakers[key], []).append(item)
    lines = [f"Scored by {scorer}, not by sclite; the tables keep sclite's shape.", ""]
    for title, total, percent in (("PERCENTAGES", "Sum/Avg", True), ("COUNTS", "Sum", False)):
        lines += [_TITLE.format(title), ""]
        rows = [(name, items) for name, items in sorted(by_speaker.items())]
        lines += _table([*rows, (total, list(counts.values()))], percent)
    for key, item in counts.items():
        values = (item.correct, item.substitutions, item.deletions, item.insertions)
        lines += [f"id: ({speakers[key]}-{key})"]
        lines += ["Scores: (#C #S #D #I) " + " ".join(map(str, values)), ""]
    return "\n".join(lines)


def _table(rows: list[tuple[str, list[Counts]]], percent: bool) -> list[str]:
    width = max(len(name) for name, _ in [*rows, ("SPKR", [])])
    rule = "|" + "-" * (width + len(_HEAD) + 5) + "|"
    lines = [rule, f"| {'SPKR':{width}} | {_HEAD}|", rule]
    for index, (name, items) in enumerate(rows):
        if index == len(rows) - 1:
            lines.append(rule.replace("-", "="))
        lines.append(f"| {name:{width}} | {_cells(items, percent)} |")
    return [*lines, rule, ""]


def _cells(items: list[Counts], percent: bool) -> str:
    total = sum_counts(items)
    wrong = sum(item.errors > 0 for item in items)
    values = [total.correct, total.substitutions, total.deletions, total.insertions, total.errors]
    if percent:
        length = max(total.reference_length, 1)
        rates = [100.0 * value / length for value in values] + [100.0 * wrong / len(items)]
        columns = " ".join(f"{rate:6.1f}" for rate in rates)
    else:
        columns = " ".join(f"{value:6d}" for value in [*values, wrong])
    return f"{len(items):4d} {total.reference_length:6d} | {columns}"
