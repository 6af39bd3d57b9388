"""Writes the frame labels of a trained model, for SALAD: which frames tell something new.

The greedy CTC label of every encoder frame, over transcribed or untranscribed speech. Writes
labels.ark, labels.scp (Kaldi vectors) and labels.json (what made them, and statistics: runs,
blanks, the keep ratio of the first n frames of each run).

    python -m espnet2_supernet.bin.salad_labels --asr_model_file exp/asr/valid.loss.ave.pth \
        --subnet server --wav_scp dump/raw/train/wav.scp --output_dir exp/salad_labels/train
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.bin import run_main
from espnet2_supernet.bin._decode_output import Progress
from espnet2_supernet.bin._inference_options import load_speech2text, make_parser, parse
from espnet2_supernet.bin._utterances import audio_rules, read_utterances
from espnet2_supernet.data.audio import read_audio
from espnet2_supernet.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from espnet2_supernet.decode.speech2text import Speech2Text


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = make_parser("salad_labels", __doc__, searches=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    group = parser.add_argument_group("labels")
    group.add_argument("--wav_scp", type=Path, help="utterances to label; no text is needed")
    group.add_argument("--key_file", type=Path, help="only the ids of its first column")
    group.add_argument("--output_dir", type=Path, help="folder for labels.ark, .scp and .json")
    return parser


def label(speech2text: Speech2Text, files: dict[str, Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Label utterance after utterance.

    Args:
        speech2text: The teacher.
        files: Audio files by id.

    Yields:
        Id and labels ``(T,)``.

    Raises:
        DataError: If a sound cannot be used or is shorter than a frame.
    """
    import torch

    rules = audio_rules(speech2text, None)
    progress = Progress(len(files), f"labelling with '{speech2text.subnet}'")
    ctc = speech2text.asr_model.ctc_of(speech2text.subnet)
    for key, path in files.items():
        try:
            frames = speech2text.encode(read_audio(path, rules).samples)
        except DataError as error:
            raise DataError(f"utterance '{key}': {error}") from error
        if not len(frames):
            raise DataError(f"utterance '{key}': shorter than one encoder frame; filter the data")
        with torch.no_grad():
            labels = ctc.argmax(frames[None])[0]
        yield key, labels.cpu().numpy()
        progress.step()


def check_teacher(speech2text: Speech2Text) -> None:
    """Refuse a model that cannot label frames.

    Raises:
        ConfigError: If it has no CTC head, or its subnet drops frames.
    """
    model: Any = speech2text.asr_model
    if model.ctc is None:
        raise ConfigError(
            "the model has no CTC head, whose labels are wanted: train with model_conf.ctc_weight "
            "above 0"
        )
    if speech2text.subnet in model.rules:
        raise ConfigError(
            f"subnet '{speech2text.subnet}' drops frames, and every frame needs a label: choose a "
            "subnet without tokens"
        )


def run(args: Namespace) -> dict[str, Any]:
    """Write the labels and return their statistics.

    Raises:
        SupernetError: If the input cannot be used.
    """
    for name in ("wav_scp", "output_dir"):
        if getattr(args, name) is None:
            raise ConfigError(f"--{name} is missing")
    files = read_utterances(args.wav_scp, args.key_file)
    speech2text = load_speech2text(args)
    check_teacher(speech2text)
    from espnet2_supernet.damon.labels import LabelInfo, write_labels

    model = speech2text.asr_model
    info = LabelInfo(
        teacher=str(args.asr_model_file or args.model_tag),
        subnet=speech2text.subnet,
        context=speech2text.context.describe(speech2text.frame_ms),
        tokens=tuple(model.token_list),
        blank_id=model.blank_id,
        frame_ms=speech2text.frame_ms,
    )
    return write_labels(args.output_dir, label(speech2text, files), info)


def main(cmd: Sequence[str] | None = None) -> None:
    """Label a set.

    Args:
        cmd: Arguments; those of the process when None.

    Raises:
        SupernetError: If the input cannot be used.
    """
    args = parse(get_parser(), cmd)
    told = run(args)
    ratios = ", ".join(f"first {n}: {ratio:.3f}" for n, ratio in told["keep_ratio"].items())
    print(
        f"{args.output_dir}: {told['utterances']} utterances, {told['frames']} frames in "
        f"{told['runs']} runs, blank {100 * told['blank_frame_ratio']:.1f} % of frames, "
        f"{told['all_blank_utterances']} utterances all blank; keep ratio of each run's {ratios}"
    )


if __name__ == "__main__":
    run_main(main)
