"""Joining data directories, and taking a part of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from espnet2_supernet.data.datadir import DataDir, invert_utt2spk, sorted_keys
from espnet2_supernet.errors import DataError


def combine(parts: Sequence[tuple[str, DataDir]]) -> DataDir:
    """Join data directories.

    Args:
        parts: Pairs of a name (for messages) and a directory.

    Raises:
        DataError: If an utterance is in two of them, or only some of them have transcripts.
    """
    joined = DataDir()
    owner: dict[str, str] = {}
    for name, part in parts:
        for key in part.wav:
            if key in owner:
                raise DataError(f"{name}: utterance '{key}' is already in {owner[key]}")
            owner[key] = name
        joined.wav.update(part.wav)
        joined.text.update(part.text)
        joined.utt2spk.update(part.utt2spk)
        joined.utt2num_samples.update(part.utt2num_samples)
    if joined.text and len(joined.text) != len(joined):
        without = next(name for name, part in parts if not part.text)
        raise DataError(f"{without}: has no transcripts, but others that it is joined with do")
    if len(joined.utt2num_samples) != len(joined):
        joined.utt2num_samples = {}  # only some parts are dumped: lengths of some would mislead
    return joined


def subset(data: DataDir, keep: Callable[[int, str], bool]) -> DataDir:
    """Select utterances.

    Args:
        data: The directory.
        keep: Called with position (in sorted order) and id.
    """
    return data.select(k for i, k in enumerate(sorted_keys(data.wav)) if keep(i, k))


def fraction_of_speakers(data: DataDir, fraction: float, seed: int = 0) -> DataDir:
    """Take the same fraction of every speaker's utterances, as nearly as whole numbers allow.

    The whole has ``fraction`` of the utterances, rounded, at least one. Every speaker gives the
    whole part of its share; what is still missing comes from the speakers with the largest rests,
    equal rests in random order. Which utterances of a speaker are taken depends on seed and
    speaker alone, so that a smaller fraction takes of a speaker a part of what a larger one takes.

    Args:
        data: The directory.
        fraction: Above 0, at most 1.
        seed: Seed of the draws; the same one gives the same utterances on every machine.

    Raises:
        DataError: If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction {fraction:g}: use a number above 0, at most 1")
    speakers = {name: keys.split() for name, keys in invert_utt2spk(data.utt2spk).items()}
    shares = {name: fraction * len(keys) for name, keys in speakers.items()}
    taken = {name: int(share) for name, share in shares.items()}
    order = sorted_keys(speakers)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: round(taken[name] - shares[name], 9))
    missing = max(round(fraction * len(data)), 1) - sum(taken.values())
    for name in order[:missing]:
        taken[name] += 1
    chosen: list[str] = []
    for name, keys in speakers.items():
        random.Random(f"{seed} {name}").shuffle(keys)
        chosen += keys[: taken[name]]
    return data.select(chosen)
