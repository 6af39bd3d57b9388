"""Options and steps that ``prune_extract`` and ``bundle`` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet2_supernet.bin._utterances import read_utterances
from espnet2_supernet.data.audio import AudioRules, read_audio
from espnet2_supernet.errors import ConfigError

if TYPE_CHECKING:
    import torch


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of model, subnet, output, comparison and one-shot pruning."""
    parser.add_argument("--asr_train_config", help="config.yaml; default: beside the model file")
    parser.add_argument("--asr_model_file", required=True, help="Trained weights")
    parser.add_argument("--subnet", required=True, help="Name of the subnet")
    parser.add_argument("--output_dir", required=True, help="Folder to write")
    parser.add_argument(
        "--wav_scp", help="Real utterances for the comparison; default: random noise"
    )
    parser.add_argument("--num_utts", type=int, default=4, help="How many of them")
    parser.add_argument(
        "--sparsity", type=float, help="Prune a dense subnet once, by magnitude, to this sparsity"
    )
    parser.add_argument(
        "--pattern", help="Pattern of that pruning, e.g. '{block: [16, 1]}'; default: elementwise"
    )


def check_extraction(args: argparse.Namespace) -> None:
    """Check what can be checked before the model is loaded.

    Raises:
        ConfigError: If an option is out of range.
    """
    if args.num_utts < 1:
        raise ConfigError(f"--num_utts {args.num_utts}: at least 1")


def load_source(args: argparse.Namespace) -> tuple[Any, argparse.Namespace]:
    """Load the model in eval mode, pruned once if the options say so, and its options.

    Raises:
        ConfigError: If the configuration or the mask cannot be used.
        CheckpointError: If the weights cannot be read.
    """
    from espnet2_supernet.tasks import extraction
    from espnet2_supernet.tasks.asr import SupernetASRTask

    model, options = SupernetASRTask.build_model_from_file(
        args.asr_train_config, args.asr_model_file
    )
    model.eval()
    mask = _mask(args)
    if mask is not None:
        model = extraction.prune_row(model, options, args.subnet, mask)
    return model, options


def read_waveforms(args: argparse.Namespace, model: Any) -> list[torch.Tensor]:
    """Return the waveforms (N,) for the comparison: real ones, or noise.

    Raises:
        DataError: If ``--wav_scp`` or a sound cannot be used.
    """
    rate = int(getattr(model.frontend, "fs", 16000))
    return _read(args.wav_scp, args.num_utts, rate) if args.wav_scp else _noise(rate)


def _mask(args: argparse.Namespace) -> dict | None:
    """Return the declaration of the one-shot mask, or None.

    Raises:
        ConfigError: If the pattern is not YAML.
    """
    if args.sparsity is None and args.pattern is None:
        return None
    import yaml

    try:
        pattern = yaml.safe_load(args.pattern) if args.pattern else "elementwise"
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--pattern {args.pattern}: not YAML, e.g. '{{block: [16, 1]}}'"
        ) from error
    mask = {"pattern": pattern, "sparsity": args.sparsity}
    return {key: value for key, value in mask.items() if value is not None}


def _noise(rate: int) -> list[torch.Tensor]:
    """Return two waveforms (N,) of noise, 2.0 and 1.3 s."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(int(s * rate), generator=generator) for s in (2.0, 1.3)]


def _read(wav_scp: str, num_utts: int, rate: int) -> list[torch.Tensor]:
    """Read the first utterances of a list, waveforms (N,).

    Raises:
        DataError: If the list or a sound cannot be used.
    """
    import torch

    paths = list(read_utterances(Path(wav_scp)).values())[:num_utts]
    rules = AudioRules(fs=rate)
    return [torch.from_numpy(read_audio(path, rules).samples) for path in paths]
