"""Chooses the threshold of SALAD's detector on a validation set, and tells how good it is.

    python -m espnet2_supernet.bin.salad_threshold --salad_model_file exp/salad/valid.loss.ave.pth \
        --wav_scp dump/raw/dev/wav.scp --labels exp/labels/dev/labels.scp --keep_ratio 0.6 \
        --output_dir exp/salad

Writes detector.pth, with which a recogniser starts (asr_train --init_param), and detector.json:
recall, precision, runs found and keep ratio against the teacher's runs, there and at other
thresholds.
"""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._options import PrintConfig, command_parser, fraction
from espnet2_supernet.bin._utterances import read_utterances
from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from espnet2_supernet.damon.threshold import ScoredFrames

TARGETS = ("recall", "run_recall", "keep_ratio")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = command_parser("salad_threshold", __doc__, as_written=True)
    parser.add_argument("--print_config", action=PrintConfig)
    parser.add_argument("--salad_model_file", type=Path, required=True, help="of salad_train")
    parser.add_argument("--wav_scp", type=Path, required=True, help="validation utterances")
    parser.add_argument("--labels", type=Path, required=True, help="their labels.scp")
    parser.add_argument("--recall", type=fraction, help="salient frames kept at least, e.g. 0.98")
    parser.add_argument("--run_recall", type=fraction, help="instead: runs found at least")
    parser.add_argument("--keep_ratio", type=fraction, help="instead: frames kept at most")
    parser.add_argument("--output_dir", type=Path, required=True)
    return parser


def score(args: Namespace, model: Any, blank_id: int) -> ScoredFrames:
    """Score all utterances; the first frame of each is kept in any case.

    Raises:
        DataError: If an utterance has no labels, or not as many as frames.
    """
    import kaldiio
    import torch

    from espnet2_supernet.damon.labels import salient
    from espnet2_supernet.damon.threshold import ScoredFrames

    labels = kaldiio.load_scp(str(args.labels))
    rules, parts, num_runs = AudioRules(fs=model.front.frontend.fs), [], 0
    for key, path in read_utterances(args.wav_scp).items():
        if key not in labels:
            raise DataError(
                f"{args.labels}: no labels of utterance '{key}' of {args.wav_scp}; label all of "
                "them with salad_labels, or leave it out of the list"
            )
        speech = torch.from_numpy(read_audio(path, rules).samples)[None]
        told = torch.from_numpy(labels[key].copy()).long()[None]
        lengths = [torch.tensor([x.size(1)]) for x in (speech, told)]
        with torch.no_grad():
            scores, targets, _ = model.scores(speech, lengths[0], told, lengths[1], [key])
        scores[:, 0] = torch.inf
        runs = torch.from_numpy(salient(labels[key])).cumsum(0) - 1
        for row in range(len(scores)):  # kinds of features that subnets may see
            parts.append((scores[row], targets[row], runs + num_runs, told[0] == blank_id))
            num_runs += int(runs[-1]) + 1
    return ScoredFrames(*(torch.cat(part) for part in zip(*parts, strict=True)))


def run(args: Namespace) -> dict[str, Any]:
    """Choose and write; return the content of ``detector.json``.

    Raises:
        SupernetError: If the input cannot be used.
    """
    target = {name: getattr(args, name) for name in TARGETS}
    if sum(value is not None for value in target.values()) != 1:
        raise ConfigError("give --recall, --run_recall or --keep_ratio, one of them")
    from espnet2_supernet.damon.labels import check_files, check_tokens, read_info
    from espnet2_supernet.damon.threshold import choose_threshold, report
    from espnet2_supernet.data.files import atomic_path
    from espnet2_supernet.tasks.loading import read_config
    from espnet2_supernet.tasks.salad import SaladTask
    from espnet2_supernet.train.checkpoint import atomic_save

    model, options = SaladTask.build_model_from_file(None, args.salad_model_file)
    info, _ = read_info(args.labels)
    check_files(args.labels)
    tokens = read_config(None, options.asr_model_file)[1]["token_list"]
    check_tokens(info, tokens, options.asr_model_file)
    frames = score(args, model.eval(), info.blank_id)
    threshold = choose_threshold(frames, **target)
    told: dict[str, Any] = {"model": str(args.salad_model_file), "labels": str(args.labels)}
    told |= report(frames, threshold, at_most=args.keep_ratio is not None)
    model.detector.threshold.fill_(told["threshold"])
    states = {f"detector.{key}": value for key, value in model.detector.state_dict().items()}
    args.output_dir.mkdir(parents=True, exist_ok=True)
    atomic_save(states, args.output_dir / "detector.pth")
    with atomic_path(args.output_dir / "detector.json") as temporary:
        temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return told


def main(cmd: Sequence[str] | None = None) -> None:
    """Choose the threshold.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    args = get_parser().parse_args(cmd)
    told = run(args)
    chance = told["by_chance"]
    print(
        f"{args.output_dir / 'detector.pth'}: threshold {told['threshold']:.4f}, recall "
        f"{told['recall']:.4f}, precision {told['precision']:.4f}, keeps {told['keep_ratio']:.3f} "
        f"of {told['frames']} frames; the teacher's runs are {told['teacher_keep_ratio']:.3f}. "
        f"Runs found {told['run_recall']:.4f}, of tokens {told['token_run_recall']:.4f}; by "
        f"chance {chance['run_recall']:.3f} and {chance['token_run_recall']:.3f}"
    )


if __name__ == "__main__":
    run_main(main)
