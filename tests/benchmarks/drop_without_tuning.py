"""What a trained recogniser loses when frames are dropped, before any fine-tuning.

    python tests/benchmarks/drop_without_tuning.py --exp exp/asr_20ms \\
        --checkpoint valid.cer_device.ave.pth --detector detector.pth --data dump/raw/train_dev

WER and CER of the CTC head, greedy, under full context. Rules: the detector's frames; as many by
chance, of the loudest, and every second; the first frames of each run of the recogniser's own
labels; the detector's frames with fewer dropped in a row, and as means. With ``--before_blocks 5 12
--restore_before_blocks 9 12`` instead: the detector's, chance and every second, dropped before each
of the first and restored before each of the second that comes later, or not at all; restored both
unchanged and with the last change.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import editdistance
import soundfile
import torch
from torch import Tensor

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.damon.labels import salient
from espnet2_supernet.damon.merging import merge_dropped
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.runtime.text import tokens_to_text
from espnet2_supernet.supernet.context import Context

FULL = Context()


@dataclass(frozen=True)
class Utterance:
    """What the rules look at; T frames.

    Attributes:
        text: Reference.
        frames: Subsampled frames ``(1, T, D)``.
        detected: The detector's probabilities ``(T,)``.
        energy: Mean of the normalised features ``(T,)``.
        labels: The recogniser's own labels with all frames ``(T,)``.
    """

    text: str
    frames: Tensor
    detected: Tensor
    energy: Tensor
    labels: Tensor


def load_detector(path: Path, size: int) -> SaladDetector:
    """Load what salad_threshold wrote; its sizes are those of its weights."""
    states = torch.load(path, map_location="cpu", weights_only=True)
    states = {key.removeprefix("detector."): value for key, value in states.items()}
    kernels = [value for key, value in states.items() if key.startswith("convolutions.")]
    channels, _, kernel_size = next(k for k in kernels if k.dim() == 3).shape
    detector = SaladDetector(size, channels, kernel_size, len(kernels) // 2)
    detector.load_state_dict(states)
    return detector.eval()


def encode(
    model: Any,
    frames: Tensor,
    keep: Tensor | None,
    block: int = 1,
    back: int | None = None,
    with_change: bool = False,
) -> Tensor:
    """Encoder output ``(T', D)`` of the frames ``(T,)`` kept before one block, until another."""
    lengths, kept = torch.tensor([frames.size(1)]), None if keep is None else keep[None]
    with model.supernet.active_subnet(next(iter(model.supernet.subnets))):
        out, _ = model.encoder.encode_frames(
            frames, lengths, FULL, kept, False, block, back, with_change
        )
    return out[0]


def labels_of(model: Any, encoded: Tensor) -> Tensor:
    """Greedy labels ``(T',)``."""
    return model.ctc.log_softmax(encoded[None])[0].argmax(-1)


def prepare(model: Any, detector: SaladDetector, data: Path) -> list[Utterance]:
    """Read a folder with wav.scp and text."""
    texts = dict(line.split(maxsplit=1) for line in (data / "text").read_text().splitlines())
    found = []
    for line in (data / "wav.scp").read_text().splitlines():
        key, path = line.split(maxsplit=1)
        speech = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        feats, lengths = model.extract_features(speech, torch.tensor([speech.size(1)]))
        frames, lengths = model.encoder.subsampled(feats, lengths)
        used = feats[0, : frames.size(1) * model.encoder.subsampling_factor]
        found.append(
            Utterance(
                " ".join(texts[key].split()),
                frames,
                detector(frames)[0][0].sigmoid(),
                used.unflatten(0, (frames.size(1), -1)).mean((1, 2)),
                labels_of(model, encode(model, frames, None)),
            )
        )
    return found


def no_longer_than(keep: Tensor, gap: int) -> Tensor:
    """Keep more frames, so that at most ``gap`` are dropped in a row."""
    keep, dropped = keep.clone(), 0
    for t in range(len(keep)):
        dropped = 0 if keep[t] else dropped + 1
        if dropped > gap:
            keep[t], dropped = True, 0
    return keep


def threshold_for(share: float, kept: Callable[[float], float]) -> float:
    """Find by halving the threshold that keeps a share of the frames."""
    low, high = 0.0, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) > share else (low, middle)
    return high


Rule = Callable[[Utterance], Tensor]


def tell(
    name: str,
    model: Any,
    data: list[Utterance],
    rule: Rule,
    block: int = 1,
    back: int | None = None,
    with_change: bool = False,
    merge: bool = False,
) -> None:
    """Print share of frames, WER and CER."""
    errors, spoken, kept, frames = [0, 0], [0, 0], 0, 0
    for one in data:
        keep = rule(one).clone()
        keep[0] = True
        seen = merge_dropped(one.frames, keep[None])[0] if merge else one.frames
        encoded = encode(model, seen, keep, block, back, with_change)
        labels = torch.unique_consecutive(labels_of(model, encoded))
        tokens = [model.token_list[i] for i in labels.tolist() if i != model.blank_id]
        text = tokens_to_text(tokens)
        for unit, cut in enumerate((str.split, list)):
            errors[unit] += editdistance.eval(cut(one.text), cut(text))
            spoken[unit] += len(cut(one.text))
        kept, frames = kept + int(keep.sum()), frames + len(keep)
    wer, cer = (100 * e / n for e, n in zip(errors, spoken, strict=True))
    print(f"{name:52s} {100 * kept / frames:5.1f} %   WER {wer:5.1f}   CER {cer:5.1f}", flush=True)


def by_chance(share: float) -> Rule:
    """Keep a share of the frames, the same in every call for utterances in the same order."""
    generator = torch.Generator().manual_seed(0)
    return lambda one: torch.rand(len(one.labels), generator=generator) < share


def every_second(one: Utterance) -> Tensor:
    """Keep frames 0, 2, 4, ..."""
    return torch.arange(len(one.labels)) % 2 == 0


def tell_blocks(
    model: Any,
    data: list[Utterance],
    detected: Rule,
    share: float,
    before: list[int],
    restored: list[int],
) -> None:
    """Print every pair of blocks for three rules."""
    for block, back, with_change in product(before, (None, *restored), (False, True)):
        if (back is None and with_change) or (back is not None and back <= block):
            continue
        where = f"before {block}" + ("" if back is None else f", restored before {back}")
        where += ", changed" if with_change else ""
        told = {"detector": detected, "chance": by_chance(share), "every second": every_second}
        for name, rule in told.items():
            tell(f"{name}, {where}", model, data, rule, block, back, with_change)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, required=True, help="folder of a recogniser with CTC")
    parser.add_argument("--checkpoint", required=True, help="its weights")
    parser.add_argument("--detector", type=Path, required=True, help="detector.pth of stage 4")
    parser.add_argument("--data", type=Path, required=True, help="folder with wav.scp and text")
    parser.add_argument("--before_blocks", type=int, nargs="+", help="frames are dropped there")
    parser.add_argument("--restore_before_blocks", type=int, nargs="+", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    model: Any = Speech2Text(args.exp / "config.yaml", args.exp / args.checkpoint).asr_model
    detector = load_detector(args.detector, model.encoder.output_size())
    data, best = prepare(model, detector, args.data), float(detector.threshold)
    total = sum(len(one.labels) for one in data)
    share = sum(int((one.detected >= best).sum()) for one in data) / total
    loud = float(torch.cat([one.energy for one in data]).quantile(1 - share))

    def limited(gap: int) -> Rule:
        def kept(at: float) -> float:
            limited = (no_longer_than(one.detected >= at, gap) for one in data)
            return sum(int(keep.sum()) for keep in limited) / total

        threshold = threshold_for(share, kept)
        return lambda one: no_longer_than(one.detected >= threshold, gap)

    def detected(one: Utterance) -> Tensor:
        return one.detected >= best

    tell("all", model, data, lambda one: torch.ones_like(one.detected, dtype=torch.bool))
    if args.before_blocks:
        tell_blocks(model, data, detected, share, args.before_blocks, args.restore_before_blocks)
        return
    tell("detector", model, data, detected)
    tell("chance", model, data, by_chance(share))
    tell("every second", model, data, every_second)
    tell("loud", model, data, lambda one: one.energy >= loud)
    for n in (1, 2, 3, 4):
        tell(
            f"first {n} of its own runs",
            model,
            data,
            lambda one, n=n: torch.from_numpy(salient(one.labels.numpy(), n)),
        )
    for gap in (2, 3, 5):
        tell(f"detector, at most {gap} dropped in a row", model, data, limited(gap))
    tell("detector, merge: mean", model, data, detected, merge=True)
    for block in range(2, len(model.encoder.blocks.running()) + 1):
        tell(f"detector, dropped before block {block}", model, data, detected, block)


if __name__ == "__main__":
    main()
