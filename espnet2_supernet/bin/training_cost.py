"""Count what trainings cost: ``python -m espnet2_supernet.bin.training_cost --expdir exp/asr_x``.

Writes ``training_cost.json`` into each experiment, which ``report`` then shows. A block-update is
one block's forward and backward pass over one batch; a teacher's forward pass counts a third of its
blocks. ``chain`` has the trainings of the teacher and of what a model started from, too: the files
of ``teacher_model_file``, ``init_model_file``, ``ssl_model_file`` and ``init_param``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser
from espnet2_supernet.report.files import write_atomic
from espnet2_supernet.report.training import COST_FILE


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser("training_cost", __doc__, as_written=True)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument("--expdir", type=Path, nargs="+", required=True, help="experiments")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If an experiment is incomplete.
    """
    args = get_parser().parse_args(cmd)
    from espnet2_supernet.tasks.training_cost import training_cost

    for expdir in args.expdir:
        cost = training_cost(expdir)
        write_atomic(expdir / COST_FILE, json.dumps(asdict(cost), indent=2) + "\n")
        print(f"{expdir.name}: {cost.own:.0f} block-updates, {cost.chain:.0f} with all before it")
        for file in cost.uncounted:
            print(f"{expdir.name}: not counted: what {file} cost, beside which is no training")


if __name__ == "__main__":
    run_main(main)
