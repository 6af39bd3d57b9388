"""What ``decode.yaml`` records about a decode."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet2_supernet.decode.speech2text import Speech2Text


def describe(speech2text: Speech2Text, args: Namespace) -> dict[str, Any]:
    """Return what ``decode.yaml`` says about how the results came about."""
    context = speech2text.context
    latency = context.algorithmic_latency_ms(speech2text.frame_ms, speech2text.lookahead_ms)
    tokens = speech2text.asr_model.supernet.subnet(speech2text.subnet).tokens
    return {
        "subnet": speech2text.subnet,
        **({} if tokens is None else {"tokens": tokens.to_dict()}),
        "context": context.to_dict(),
        "frame_ms": speech2text.frame_ms,
        "lookahead_ms": speech2text.lookahead_ms,
        "algorithmic_latency_ms": None if context.is_full else latency,
        "mode": args.mode,
        "piece_ms": args.piece_ms if args.mode == "streamed" else None,
        **speech2text.options.to_dict(),
        "use": speech2text.output,
        "dtype": args.dtype,
        "device": "cuda" if args.ngpu else "cpu",
        "num_threads": args.num_threads or None,
        "train_config": str(args.asr_train_config) if args.asr_train_config else None,
        "model_file": str(args.asr_model_file or args.model_tag),
        "lm_file": str(args.lm_file) if args.lm_file else None,
    }


def fingerprint(args: Namespace) -> list[int]:
    """Size and time of the model file: another model must not continue a decode."""
    if args.asr_model_file is None:
        return []
    stat = args.asr_model_file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def versions() -> dict[str, str]:
    """Return the versions of what computed the results."""
    import platform
    from importlib.metadata import version

    import espnet2_supernet

    names = ("espnet", "torch", "numpy")
    found = {name: version(name) for name in names}
    return {
        "espnet2_supernet": espnet2_supernet.__version__,
        **found,
        "python": platform.python_version(),
    }
