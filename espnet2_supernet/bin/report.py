"""Write RESULTS.md of one or more experiments: tables, intervals, paired tests, plots.

Reads ``<expdir>/decode_*/<set>/score_{wer,cer}/`` (made by ``espnet2_supernet.bin.score``),
``decode.yaml`` of the decodes, ``<expdir>/subnets.json`` and ``<expdir>/latency/latency.json``.
Several experiments get one table that compares them, and Pareto plots.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.bin.score import add_bootstrap_arguments, command_line
from espnet2_supernet.report.comparison import ComparedRow, compared_rows
from espnet2_supernet.report.files import write_atomic
from espnet2_supernet.report.pairs import compare
from espnet2_supernet.report.pareto_plot import AXES, plot_pareto
from espnet2_supernet.report.plots import plot_rates, plot_rates_against_nonzero
from espnet2_supernet.report.reference import Reference, choose_pairs, find_reference
from espnet2_supernet.report.results import Decode, collect
from espnet2_supernet.report.significance import Bootstrap
from espnet2_supernet.report.speed import SpeedReport, read_latency, read_speed
from espnet2_supernet.report.speed_plots import plot_wer_against_bytes, plot_wer_against_factor
from espnet2_supernet.report.table import Report, render, set_names, subnet_table

ALL_PAIRS = 6  # rows of which every pair is tested: 15 tests


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("report", __doc__)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument(
        "--expdir", type=Path, nargs="+", required=True, help="experiments, one table for all"
    )
    parser.add_argument(
        "--metric", choices=("wer", "cer"), default="wer", help="error rate of tables and tests"
    )
    parser.add_argument("--out", type=Path, help="RESULTS.md; default: in the first experiment")
    parser.add_argument(
        "--plots", choices=("true", "false"), default="true", help="draw images/ beside --out"
    )
    parser.add_argument(
        "--latency", type=Path, help="latency.json of several experiments, measured in turns"
    )
    parser.add_argument(
        "--reference",
        help="EXPDIR[:SUBNET] that speed and size are compared with; without a subnet the row of "
        "the same latency there; default: the first experiment",
    )
    parser.add_argument(
        "--against", nargs="+", default=[], metavar="EXPDIR[:SUBNET]",
        help="pair every row with these in the paired tests; default: all pairs, the reference "
        f"alone for more than {ALL_PAIRS} rows",
    )  # fmt: skip
    add_bootstrap_arguments(parser)
    return parser


def chosen_pairs(
    args: argparse.Namespace, decodes: Sequence[Decode], reference: Reference
) -> list[tuple[Decode, Decode]] | None:
    """Return the pairs of rows to test; None for all.

    Raises:
        ConfigError: If --against names no row.
    """
    named = [find_reference(text, decodes, "--against") for text in args.against]
    if not named and args.reference is None and len(decodes) <= ALL_PAIRS:
        return None
    return choose_pairs(decodes, named or [reference])


def draw_plots(
    decodes: Sequence[Decode],
    speed: Sequence[SpeedReport],
    compared: Sequence[ComparedRow],
    out: Path,
) -> dict[str, str]:
    """Draw the plots beside RESULTS.md and find those of the training.

    Args:
        decodes: The rows.
        speed: What stage 13 measured, by experiment.
        compared: The rows beside a reference.
        out: Path of RESULTS.md.

    Returns:
        ``{title: path relative to RESULTS.md}``.

    Raises:
        DataError: If a plot cannot be written.
    """
    images = out.parent / "images"
    if out.stem != "RESULTS":  # pages of one folder have their own plots
        images /= out.stem
    kind, metric = decodes[0].token_type, decodes[0].metric
    found = {f"{metric} with 95 % intervals": images / f"{kind}_by_subnet.png"}
    plot_rates(decodes, images / f"{kind}_by_subnet.png")
    if plot_rates_against_nonzero(decodes, images / f"{kind}_vs_nonzero.png"):
        found[f"{metric} against non-zero parameters"] = images / f"{kind}_vs_nonzero.png"
    for name, axis in ((name, axis) for name in set_names(decodes) for axis in AXES):
        path = images / f"pareto_{axis}_{name}.png"
        if compared and plot_pareto(compared, name, axis, path):
            found[f"{name}: {metric} against {AXES[axis]}"] = path
    found |= _speed_plots(speed, images)
    for expdir in dict.fromkeys(decode.expdir for decode in decodes):
        for path in sorted(expdir.glob("images/layer_sparsity_*.png")):
            mask = path.stem.removeprefix("layer_sparsity_")
            found[f"{expdir.name}: sparsity per layer, mask {mask}"] = path
    return {title: os.path.relpath(path, out.parent) for title, path in found.items()}


def _speed_plots(speed: Sequence[SpeedReport], images: Path) -> dict[str, Path]:
    """Draw WER against factor and bytes for every measuring; return the files by title."""
    found = {}
    for one in speed:
        name = one.expdir.name
        for title, short, plot in (
            ("real-time factor", "factor", plot_wer_against_factor),
            ("bytes", "bytes", plot_wer_against_bytes),
        ):
            path = images / f"wer_vs_{short}{f'_{name}' if len(speed) > 1 else ''}.png"
            if plot(one.rows, path):
                found[f"{f'{name}: ' if len(speed) > 1 else ''}WER against {title}"] = path
    return found


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        cmd: Arguments; None for those of the process.

    Raises:
        SupernetError: If there is nothing to report or a file is damaged.
    """
    arguments = list(sys.argv[1:] if cmd is None else cmd)
    args = get_parser().parse_args(arguments)
    out = args.out or args.expdir[0] / "RESULTS.md"
    method = Bootstrap(args.bootstrap_unit, args.bootstrap_resamples, args.seed)
    joint = read_latency(args.latency) if args.latency else None
    decodes = collect(args.expdir, joint, args.metric)
    first = args.reference or str(decodes[0].expdir)
    reference = find_reference(first, decodes, "--reference")
    chosen = chosen_pairs(args, decodes, reference)
    pairs = compare(decodes, set_names(decodes), method, chosen)
    speed = [joint] if joint is not None else []
    own = [one for one in args.expdir if joint is None or joint.of(one) is None]
    speed += [found for one in own if (found := read_speed(one)) is not None]
    compared = compared_rows(decodes, reference) if len(args.expdir) > 1 else []
    images = draw_plots(decodes, speed, compared, out) if args.plots == "true" else {}
    command = command_line("report", arguments)
    report = Report(decodes, pairs, method, command, images, speed, compared)
    write_atomic(out, render(report))
    print("\n".join(subnet_table(decodes)))
    print(f"wrote {out}")


if __name__ == "__main__":
    run_main(main)
