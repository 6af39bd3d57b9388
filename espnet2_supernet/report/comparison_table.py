"""The table that joins several experiments: one row for each subnet, one column for each price."""

from __future__ import annotations

from collections.abc import Sequence

from espnet2_supernet.report.cells import number_text, rate_text
from espnet2_supernet.report.comparison import ComparedRow
from espnet2_supernet.report.latency import DASH, latency_text
from espnet2_supernet.report.markdown import markdown_table
from espnet2_supernet.report.training import COST_COLUMN, cost_text

_COLUMNS = [
    "algorithmic latency",
    "parameters",
    "of the reference",
    "non-zeros",
    "frames kept",
    "real-time factor, PyTorch",
    "encoder alone",
    "speed, reference = 1",
    "MB on disk",
    "real-time factor, runtime",
    "MB of the bundle",
    COST_COLUMN,
    "Pareto-optimal",
]


def comparison_section(rows: Sequence[ComparedRow], sets: Sequence[str]) -> list[str]:
    """Render the comparison.

    Args:
        rows: The rows.
        sets: Test sets.

    Returns:
        Lines of Markdown.
    """
    metric = rows[0].decode.metric
    runs = {row.decode.measured.run for row in rows if row.factor is not None}
    several = (
        f"- Real-time factors come from {len(runs)} runs, of which only their own rows can be "
        "compared exactly: espnet2_supernet.bin.latency measures several experiments in turns."
    )
    return [
        "## Comparison",
        "",
        *comparison_table(rows, sets),
        "",
        "- An empty cell was not measured or does not apply; MB is of the files of that row.",
        "- Parameters and non-zeros are those of the extracted model, where there is one.",
        "- The reference of a row: "
        + (", ".join(dict.fromkeys(r.reference.label for r in rows if r.reference)) or "none")
        + ".",
        "- Real-time factor: CPU time on one thread, front-end and search included.",
        *([several] if len(runs) > 1 else []),
        f"- Pareto-optimal: no other row of no larger algorithmic latency is better in {metric} or "
        f"real-time factor (PyTorch) and worse in neither; {metric}s without their intervals.",
        "",
    ]


def comparison_table(rows: Sequence[ComparedRow], sets: Sequence[str]) -> list[str]:
    """Render the rows; columns that are empty everywhere are left out.

    Args:
        rows: The rows.
        sets: Test sets.

    Returns:
        Lines of Markdown.
    """
    head = ["row", *(f"{rows[0].decode.metric} {name} (%)" for name in sets), *_COLUMNS]
    cells = [_cells(row, sets) for row in rows]
    used = [i for i in range(len(head)) if any(line[i] for line in cells)]
    return markdown_table([head[i] for i in used], [[line[i] for i in used] for line in cells])


def _cells(row: ComparedRow, sets: Sequence[str]) -> list[str]:
    decode, measured = row.decode, row.decode.measured
    front = ", ".join(row.fronts) if len(sets) > 1 else "yes" * bool(row.fronts)
    share, kept = row.parameter_share, measured.keep_ratio
    cells = [
        decode.label,
        *(rate_text(decode.score(name)) for name in sets),
        latency_text(decode.latency_ms),
        number_text(row.parameters, ","),
        number_text(share, ".2f"),
        number_text(row.nonzero, ","),
        "" if kept is None else f"{100 * kept:.1f} %",
        number_text(row.factor, ".4f"),
        number_text(measured.encoder_factor, ".4f"),
        number_text(row.speed, ".2f"),
        number_text(measured.bytes_on_disk, ".1f", 1e-6),
        number_text(measured.runtime_factor, ".4f"),
        number_text(measured.runtime_bytes, ".1f", 1e-6),
        cost_text(decode.expdir),
        front,
    ]
    return ["" if cell == DASH else cell for cell in cells]
