"""Offline speed perturbation (Ko et al., Interspeech 2015): pitch and tempo change together.

Ids and speakers of the copies get ESPnet's prefix ``sp<factor>-``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from espnet2_supernet.data.audio import AudioRules, read_audio, resample, write_audio
from espnet2_supernet.data.datadir import DataDir, check_other_folder, read_data_dir, write_data_dir
from espnet2_supernet.data.dump import Item, check_sources, safe_name, write_skipped
from espnet2_supernet.data.journal import Journal, Outcome, source_stamp
from espnet2_supernet.data.parallel import parallel_map
from espnet2_supernet.data.sets import combine
from espnet2_supernet.errors import DataError

MAX_BAD_FRACTION = 0.01


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play a waveform faster or slower.

    Args:
        samples: Waveform ``(N,)``.
        factor: Speed; 1.1 is shorter and higher.

    Returns:
        Waveform of about ``N / factor`` samples at the same sampling rate.
    """
    ratio = Fraction(factor).limit_denominator(100)
    return resample(samples, ratio.numerator, ratio.denominator)


def perturb_item(item: Item, factor: float) -> Outcome:
    """Write one copy; bad audio is reported in the outcome and not raised."""
    stamp = source_stamp(item.source, factor)
    try:
        # Rate, channels and length are judged by the format stage; here only readability counts.
        audio = read_audio(item.source, AudioRules(fs=None, max_duration=float("inf")))
    except DataError as error:
        return Outcome(item.utterance, stamp, reason=str(error))
    changed = change_speed(audio.samples, factor)
    path = f"{item.target}.flac"
    write_audio(path, changed, audio.fs)
    return Outcome(item.utterance, stamp, path, len(changed))


def perturb_data_dir(
    in_dir: str | Path,
    out_dir: str | Path,
    factors: Sequence[float] = (0.9, 1.0, 1.1),
    audio_dir: str | Path | None = None,
    nj: int = 1,
    audio_only: bool = False,
) -> DataDir:
    """Join a set with copies of itself at other speeds.

    Args:
        in_dir: A data or dump directory.
        out_dir: The directory to write; ``skipped.tsv`` lists copies that could not be made.
        factors: Speeds; 1.0 stands for the untouched utterances.
        audio_dir: Folder for the FLAC files, ``<out_dir>/audio`` by default.
        nj: Number of processes.
        audio_only: Neither read nor write transcripts.

    Raises:
        DataError: If a factor is out of range or given twice, or more than 1 % of the copies
            cannot be made.
    """
    in_dir, out_dir = Path(in_dir), Path(out_dir)
    check_other_folder(in_dir, out_dir)
    _check_factors(factors)
    data = read_data_dir(in_dir, audio_only=audio_only)
    check_sources(data, in_dir / "wav.scp")
    folder = (Path(audio_dir) if audio_dir else out_dir / "audio").resolve()
    parts, bad = [], {}
    for factor in factors:
        if factor == 1.0:
            parts.append((str(in_dir), data))
            continue
        part, reasons = _copy_at_speed(data, factor, folder, nj)
        parts.append((f"speed {factor:g}", part))
        bad.update(reasons)
    _report_skipped(bad, len(data) * len(factors), in_dir, out_dir / "skipped.tsv")
    joined = combine(parts)
    write_data_dir(out_dir, joined)
    return joined


def _check_factors(factors: Sequence[float]) -> None:
    """Refuse speeds that are out of range, or given twice.

    Raises:
        DataError: Naming the speed.
    """
    for factor in factors:
        if not 0.5 <= factor <= 2.0:
            raise DataError(f"speed factor {factor:g} is not between 0.5 and 2")
    if len(set(factors)) != len(factors) or not factors:
        raise DataError("give each speed factor once")


def _report_skipped(bad: dict[str, str], wanted: int, in_dir: Path, path: Path) -> None:
    """List the copies that could not be made.

    Raises:
        DataError: If they are too many of those wanted.
    """
    write_skipped(path, bad)
    if len(bad) > MAX_BAD_FRACTION * wanted:
        first = next(iter(bad))
        raise DataError(
            f"{in_dir}: {len(bad)} copies cannot be made; first: {first}: {bad[first]}; "
            f"all are listed in {path}"
        )


def _copy_at_speed(
    data: DataDir, factor: float, folder: Path, nj: int
) -> tuple[DataDir, dict[str, str]]:
    """Make one copy of a set; returns it and the reasons of what is missing in it."""
    prefix = f"sp{factor:.12g}-"
    journal = Journal(folder / f"{prefix}journal")
    outcomes, items = [], []
    for key, source in data.wav.items():
        known = journal.lookup(prefix + key, source_stamp(source, factor))
        if known is not None:
            outcomes.append(known)
        else:
            items.append(Item(prefix + key, source, str(folder / safe_name(prefix + key))))
    work = partial(perturb_item, factor=factor)
    results = parallel_map(work, items, nj, f"speed {factor:g}")
    outcomes.extend(journal.record(results))
    good = {outcome.utterance: outcome for outcome in outcomes if not outcome.reason}
    source_key = {key: key.removeprefix(prefix) for key in good}
    part = DataDir(
        {key: outcome.path for key, outcome in good.items()},
        {key: data.text[source_key[key]] for key in good} if data.text else {},
        {key: prefix + data.utt2spk[source_key[key]] for key in good},
        {key: outcome.num_samples for key, outcome in good.items()} if data.utt2num_samples else {},
    )
    return part, {o.utterance: o.reason for o in outcomes if o.reason}
