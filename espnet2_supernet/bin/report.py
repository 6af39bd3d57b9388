"""Write RESULTS.md of one or more experiments: tables, intervals, paired tests, plots.

Reads ``<expdir>/decode_*/<set>/score_{wer,cer}/`` (made by ``espnet2_supernet.bin.score``),
``decode.yaml`` of the decodes, ``<expdir>/subnets.json`` and ``<expdir>/latency/latency.json``.
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
from espnet2_supernet.report.files import write_atomic
from espnet2_supernet.report.pairs import compare
from espnet2_supernet.report.plots import plot_wer, plot_wer_against_nonzero
from espnet2_supernet.report.results import Decode, collect
from espnet2_supernet.report.significance import Bootstrap
from espnet2_supernet.report.speed import SpeedReport, read_speed
from espnet2_supernet.report.speed_plots import plot_wer_against_bytes, plot_wer_against_factor
from espnet2_supernet.report.table import Report, render, set_names, subnet_table


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("report", __doc__)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument(
        "--expdir", type=Path, nargs="+", required=True, help="experiments, one table for all"
    )
    parser.add_argument("--out", type=Path, help="RESULTS.md; default: in the first experiment")
    parser.add_argument(
        "--plots", choices=("true", "false"), default="true", help="draw images/ beside --out"
    )
    add_bootstrap_arguments(parser)
    return parser


def draw_plots(
    decodes: Sequence[Decode], speed: Sequence[SpeedReport], out: Path
) -> dict[str, str]:
    """Draw the plots beside RESULTS.md and find those of the training.

    Args:
        decodes: The rows.
        speed: What stage 13 measured, by experiment.
        out: Path of RESULTS.md.

    Returns:
        ``{title: path relative to RESULTS.md}``.

    Raises:
        DataError: If a plot cannot be written.
    """
    images = out.parent / "images"
    found = {"WER with 95 % intervals": images / "wer_by_subnet.png"}
    plot_wer(decodes, found["WER with 95 % intervals"])
    if plot_wer_against_nonzero(decodes, images / "wer_vs_nonzero.png"):
        found["WER against non-zero parameters"] = images / "wer_vs_nonzero.png"
    for one in speed:
        name = one.expdir.name
        for title, short, plot in (
            ("real-time factor", "factor", plot_wer_against_factor),
            ("bytes", "bytes", plot_wer_against_bytes),
        ):
            path = images / f"wer_vs_{short}{f'_{name}' if len(speed) > 1 else ''}.png"
            if plot(one.rows, path):
                found[f"{f'{name}: ' if len(speed) > 1 else ''}WER against {title}"] = path
    for expdir in dict.fromkeys(decode.expdir for decode in decodes):
        for path in sorted(expdir.glob("images/layer_sparsity_*.png")):
            mask = path.stem.removeprefix("layer_sparsity_")
            found[f"{expdir.name}: sparsity per layer, mask {mask}"] = path
    return {title: os.path.relpath(path, out.parent) for title, path in found.items()}


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
    decodes = collect(args.expdir)
    pairs = compare(decodes, set_names(decodes), method)
    speed = [found for one in args.expdir if (found := read_speed(one)) is not None]
    images = draw_plots(decodes, speed, out) if args.plots == "true" else {}
    report = Report(decodes, pairs, method, command_line("report", arguments), images, speed)
    write_atomic(out, render(report))
    print("\n".join(subnet_table(decodes)))
    print(f"wrote {out}")


if __name__ == "__main__":
    run_main(main)
