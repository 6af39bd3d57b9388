"""How many of the units that one pruning keeps others keep, too.

    python tests/benchmarks/common_units.py --mask device --checkpoint latest.pth \\
        --exp exp/asr_train_safari_sparsity0.5 --others exp/asr_train_{omp,imp,l0}_sparsity0.5

For every kind of units: the share of the first mask's units that is in the other mask, and what two
masks that know nothing of each other would have in common.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.sparsity.unit_selection import find_units

KINDS = ("attention_heads", "linear_units", "convolution_channels")  # of conf/pruning


def kept_units(exp: Path, checkpoint: str, mask: str) -> dict[str, Tensor]:
    """Kept units of all layers, bool ``(U,)``, by kind."""
    model = Speech2Text(exp / "config.yaml", exp / checkpoint).asr_model
    found = defaultdict(list)
    for group in find_units(model).values():
        if group.kind in KINDS and all(mask in layer.patterns for layer in group.layers.values()):
            found[group.kind].append(group.kept(mask))
    if not found:
        raise SystemExit(f"{exp}: mask '{mask}' prunes no units")
    return {kind: torch.cat(parts) for kind, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, required=True, help="experiment with a structured mask")
    parser.add_argument("--others", type=Path, nargs="+", required=True, help="to compare it with")
    parser.add_argument("--mask", required=True, help="name of the mask in all of them")
    parser.add_argument("--checkpoint", default="latest.pth", help="weights in each folder")
    args = parser.parse_args()
    first = kept_units(args.exp, args.checkpoint, args.mask)
    for exp in args.others:
        other = kept_units(exp, args.checkpoint, args.mask)
        for kind in sorted(first.keys() & other.keys()):
            mine, theirs = first[kind], other[kind]
            common = float((mine & theirs).sum() / mine.sum())
            print(
                f"{exp.name:44s} {kind:22s} kept {int(mine.sum()):5d} of {len(mine):5d}   "
                f"common {common:6.1%}   by chance {float(theirs.float().mean()):6.1%}"
            )


if __name__ == "__main__":
    main()
