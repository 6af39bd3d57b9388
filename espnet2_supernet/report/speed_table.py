"""The section of RESULTS.md about speed, memory and emission delay."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from espnet2_supernet.report.latency import DASH, latency_text
from espnet2_supernet.report.markdown import markdown_table
from espnet2_supernet.report.speed import SpeedReport, SpeedRow

_SPEED_COLUMNS = [
    "row",
    "WER (%)",
    "real-time factor: CPU time",
    "wall clock",
    "features / encoder / decoder (CPU)",
    "ms per chunk, CPU: median / 90 % / 99 %",
    "wall clock",
    "end of speech to result, CPU ms",
    "peak memory MB",
    "MB on disk",
    "hypotheses unlike torch_fp32",
]
_DELAY_COLUMNS = [
    "row",
    "algorithmic latency",
    "all tokens, median / 90 % (ms)",
    "first token",
    "last token",
    "model alone",
    "tokens",
]
_STAGES = ("features", "encoder", "decoder")
_PERCENTILES = ("median", "p90", "p99")
QUIET = 0.05  # share of a core that may be foreign


def speed_section(reports: Sequence[SpeedReport]) -> list[str]:
    """Render what was measured.

    Args:
        reports: One for each experiment that has been measured.

    Returns:
        Lines of Markdown; none without a report.
    """
    lines: list[str] = []
    for report in reports:
        title = "## Speed and latency"
        lines += [title if len(reports) == 1 else f"{title}: {report.expdir.name}", ""]
        lines += [*_machine(report), "", *speed_table(report.rows), ""]
        if any(row.number("token_delay_ms", "all", "median") is not None for row in report.rows):
            lines += ["Token emission delay:", "", *delay_table(report.rows), ""]
        lines += [*_notes(), ""]
    return lines


def speed_table(rows: Sequence[SpeedRow]) -> list[str]:
    """Render times, memory and bytes.

    Args:
        rows: The rows.
    """
    cells = []
    for row in rows:
        if row.not_measured:
            dashes = [DASH] * (len(_SPEED_COLUMNS) - 2)
            cells.append([row.label, f"not measured: {row.not_measured}", *dashes])
            continue
        factors = [row.number("real_time_factor", "cpu", stage) for stage in _STAGES]
        cells.append(
            [
                row.label,
                _wer(row),
                _text(row.number("real_time_factor", "cpu", "total"), ".4f"),
                _text(row.number("real_time_factor", "wall", "total"), ".4f"),
                " / ".join(_text(value, ".4f") for value in factors),
                _joined(row, ("chunk_ms", "cpu"), _PERCENTILES, ".2f"),
                _joined(row, ("chunk_ms", "wall"), _PERCENTILES, ".2f"),
                _text(row.number("finish_ms", "cpu", "median"), ".2f"),
                _megabytes(row.number("peak_memory_bytes")),
                _megabytes(row.number("bytes_on_disk")),
                _text(row.number("differing_from_torch_fp32"), ".0f"),
            ]
        )
    return markdown_table(_SPEED_COLUMNS, cells)


def delay_table(rows: Sequence[SpeedRow]) -> list[str]:
    """Render emission delays.

    Args:
        rows: The rows; those without delays are left out.
    """
    cells = []
    for row in rows:
        if row.number("token_delay_ms", "all", "median") is None:
            continue
        latency = row.number("algorithmic_latency_ms")
        parts = [
            _joined(row, ("token_delay_ms", part), ("median", "p90"), ".0f")
            for part in ("all", "first", "last", "model")
        ]
        tokens = _text(row.number("token_delay_ms", "tokens"), ".0f")
        shown = latency_text(float("inf") if latency is None else latency)
        cells.append([row.label, shown, *parts, tokens])
    return markdown_table(_DELAY_COLUMNS, cells)


def _machine(report: SpeedReport) -> list[str]:
    machine, about = report.machine, report.about
    features = " ".join(map(str, machine.get("features") or []))
    loads = [float(share) for share in machine.get("foreign_load") or []]
    passes = f"{about.get('repeats')} pass{'es' * (about.get('repeats') != 1)}"
    lines = [
        f"- {machine.get('cpu')} ({features or 'no vector extensions known'}), "
        f"{machine.get('threads')} thread, core {machine.get('core')}; {about.get('date')}.",
        f"- {about.get('utterances')} utterances, {float(about.get('audio_seconds') or 0):.0f} s, "
        f"{passes}, the rows in turns, medians over the passes.",
    ]
    if loads:
        text = f"- Others used {100 * median(loads):.0f} % of the core meanwhile"
        busy = median(loads) > QUIET
        lines.append(text + (": believe the CPU time, not the wall clock." if busy else "."))
    return lines


def _notes() -> list[str]:
    return [
        "- Audio arrives in pieces of one chunk; features, encoder and search are all part of the "
        "times. CPU time counts all threads of the process.",
        "- WER: the Python scorer on these utterances, 95 % bootstrap interval over utterances.",
        "- Peak memory: of a process that recognises with this row only, libraries included.",
        "- Delay: from the end of a token in a forced alignment by the full-context CTC head to "
        "when the user sees it for good on an infinitely fast machine; correct tokens only. "
        "'Model alone' ends with the frame that emitted it and so leaves the chunk out.",
    ]


def _wer(row: SpeedRow) -> str:
    low, high = (row.number("accuracy", "interval", key) for key in ("low", "high"))
    between = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return _text(row.number("accuracy", "wer"), ".2f") + between


def _joined(row: SpeedRow, where: Sequence[str], keys: Sequence[str], form: str) -> str:
    values = [row.number(*where, key) for key in keys]
    return DASH if None in values else " / ".join(_text(value, form) for value in values)


def _text(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)


def _megabytes(value: float | None) -> str:
    return DASH if value is None else f"{value / 1e6:.1f}"
