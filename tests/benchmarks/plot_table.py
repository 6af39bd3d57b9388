"""Draws the Pareto plot of a table of results that stands in a README.

    python tests/benchmarks/plot_table.py egs/an4/damon1/README.md --section "All methods" \\
        --reference "none: the updates only" --out egs/an4/damon1/images/all_methods.png

The table is the first one below the heading. It needs columns ``WER `server` `` and ``real-time
factor `server` `` (and those of ``device``, with or without the second name repeated), cells as
``10.5 [7.5, 14.0]``; the first column names the rows. Rows without one of the numbers are left out.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

from espnet2_supernet.report.figure import new_figure, save_figure
from espnet2_supernet.report.pareto_plot import OPERATING_POINTS, front

SUBNETS = ("server", "device")
MARKERS = "osD^vP*Xph<>d"


class Row(NamedTuple):
    """A row of the table: WER in percent with its interval, real-time factor."""

    name: str
    wer: float
    low: float
    high: float
    factor: float


def read_table(path: Path, section: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the first table below a heading."""
    text = path.read_text(encoding="utf-8")
    heading = re.search(rf"^#+ {re.escape(section)}$", text, re.MULTILINE)
    if heading is None:
        raise SystemExit(f"{path}: no heading '{section}'")
    table = re.search(r"(?:^\|.*\n)+", text[heading.end() :], re.MULTILINE)
    if table is None:
        raise SystemExit(f"{path}: no table below '{section}'")
    lines = [line[1:-1].split("|") for line in table[0].splitlines()]
    return lines[0], lines[2:]


def columns(header: list[str], subnet: str) -> tuple[int, int] | None:
    """Return where WER and factor of a subnet stand; a bare name has the kind before it."""
    kind, found = "", {}
    for place, title in enumerate(header):
        kind = next((k for k in ("WER", "real-time factor") if title.startswith(k)), kind)
        if f"`{subnet}`" in title:
            found[kind] = place
    both = found.get("WER"), found.get("real-time factor")
    return None if None in both else (both[0] or 0, both[1] or 0)


def rows_of(table: list[list[str]], places: tuple[int, int]) -> list[Row]:
    """Return the rows that have both numbers."""
    rows = []
    for cells in table:
        wer = [float(x) for x in re.findall(r"\d+\.\d+", cells[places[0]])]
        factor = [float(x) for x in re.findall(r"\d+\.\d+", cells[places[1]])]
        if wer and factor:
            rows.append(Row(cells[0], wer[0], *(wer[1:3] or wer * 2), factor[0]))
    return rows


def draw(axes: Any, rows: list[Row], reference: str, subnet: str) -> None:
    """Draw the rows, their front, and the operating points seen from the reference."""
    for i, row in enumerate(rows):
        bars = [[row.wer - row.low], [row.high - row.wer]]
        axes.errorbar(
            [row.factor], [row.wer], yerr=bars, fmt=MARKERS[i % len(MARKERS)], color=f"C{i % 10}",
            capsize=2, elinewidth=0.7, label=row.name,
        )  # fmt: skip
    best = front([(row.factor, row.wer) for row in rows])
    axes.plot(*zip(*best, strict=True), color="black", linewidth=1, zorder=1, label="Pareto front")
    for origin in (row for row in rows if row.name == reference):
        for marker, (speed, share, wer) in zip("12", OPERATING_POINTS, strict=True):
            axes.plot(
                [origin.factor / speed], [origin.wer * wer], marker, color="black", markersize=12,
                label=f"S6-DAMON's {speed:g}x speed, {share:.2g} parameters, {wer:g}x WER",
            )  # fmt: skip
    axes.set(title=subnet, xlabel="real-time factor", ylabel="WER (%), 95 % interval")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("readme", type=Path)
    parser.add_argument("--section", required=True, help="heading above the table")
    parser.add_argument("--reference", required=True, help="row that the operating points refer to")
    parser.add_argument("--most_wer", type=float, default=60.0, help="rows above are left out")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    args = parser.parse_args()
    header, table = read_table(args.readme, args.section)
    found = {s: places for s in SUBNETS if (places := columns(header, s)) is not None}
    if not found:
        raise SystemExit(f"{args.readme}: the table below '{args.section}' has no WER and factor")
    figure = new_figure(10.0, 4.6 * len(found))
    panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (subnet, places) in zip(panels, found.items(), strict=True):
        rows = [row for row in rows_of(table, places) if row.wer <= args.most_wer]
        draw(axes, rows, args.reference, subnet)
    save_figure(figure, args.out)


if __name__ == "__main__":
    main()
