"""Dropping utterances that training cannot use: too short, too long, or without words.

Of a directory of audio only, the length alone decides.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.data.datadir import DataDir, check_other_folder, read_data_dir, write_data_dir
from espnet2_supernet.data.dump import write_skipped
from espnet2_supernet.errors import DataError


def filter_reasons(
    data: DataDir, min_duration: float, max_duration: float, fs: int
) -> dict[str, str]:
    """Say which utterances are dropped, and why.

    Args:
        data: A dumped directory (with lengths).
        min_duration: Shortest utterance in seconds that stays (as ESPnet: must be longer).
        max_duration: Longest in seconds (must be shorter).
        fs: Sampling rate in Hz.
    """
    reasons = {}
    for key, length in data.utt2num_samples.items():
        seconds = length / fs
        if data.text and not data.text[key].split():
            reasons[key] = "the transcript has no words"
        elif seconds <= min_duration:
            reasons[key] = f"{seconds:.3f} s is not longer than --min_duration {min_duration:g}"
        elif seconds >= max_duration:
            reasons[key] = f"{seconds:.3f} s is not shorter than --max_duration {max_duration:g}"
    return reasons


def filter_data_dir(
    in_dir: str | Path,
    out_dir: str | Path,
    min_duration: float = 0.1,
    max_duration: float = 20.0,
    fs: int = 16000,
    audio_only: bool = False,
) -> dict[str, str]:
    """Copy a dumped directory without the utterances that :func:`filter_reasons` names.

    Args:
        in_dir: E.g. ``dump/raw/org/<set>``.
        out_dir: E.g. ``dump/raw/<set>``; ``filtered.tsv`` in it lists what was dropped.
        min_duration: In seconds.
        max_duration: In seconds.
        fs: Sampling rate in Hz.
        audio_only: Neither read nor write transcripts.

    Returns:
        Reason by dropped utterance.

    Raises:
        DataError: If the directory is not dumped, or nothing would be left.
    """
    in_dir, out_dir = Path(in_dir), Path(out_dir)
    check_other_folder(in_dir, out_dir)
    if not 0 <= min_duration < max_duration:
        raise DataError(f"min_duration {min_duration} and max_duration {max_duration} do not fit")
    data = read_data_dir(in_dir, audio_only=audio_only)
    if not data.utt2num_samples:
        raise DataError(f"{in_dir}/utt2num_samples: no such file; run 'format' first")
    reasons = filter_reasons(data, min_duration, max_duration, fs)
    write_skipped(out_dir / "filtered.tsv", reasons)
    if len(reasons) == len(data):
        raise DataError(
            f"{in_dir}: every utterance would be dropped; see {out_dir / 'filtered.tsv'}"
        )
    for name in ("feats_type", "audio_format"):
        if (in_dir / name).exists():
            with atomic_path(out_dir / name) as temporary:
                shutil.copyfile(in_dir / name, temporary)
    write_data_dir(out_dir, data.select(key for key in data.wav if key not in reasons))
    return reasons
