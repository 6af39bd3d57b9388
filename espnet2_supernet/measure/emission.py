"""Token emission delay: how long after it was spoken a token is shown.

The reference time of a token is the end of its span in a forced alignment of the transcript with
the full-context CTC head. Only tokens that were recognised correctly have a delay; they are found
by the alignment with the fewest edits. The time at which a token is shown counts on an infinitely
fast machine: it is the end of the audio that had to be heard, chunk, right context and look-ahead
of the features included (our choice; computing time is reported beside it). A token of a beam
search counts from when it and everything before it no longer changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class AlignedToken:
    """A token of the transcript with its place in the audio.

    Attributes:
        token: Token id.
        start: Start of its span in seconds.
        end: End of its span in seconds.
    """

    token: int
    start: float
    end: float


@dataclass(frozen=True)
class Delays:
    """Delays of the correct tokens of one utterance, in the order spoken, in ms.

    Attributes:
        shown: From the end of the token to when the user sees it.
        emitted: From the end of the token to the end of the encoder frame that emitted it: the
            model's own hesitation, without the wait for the chunk.
    """

    shown: list[float]
    emitted: list[float]


def shown_at(snapshots: Sequence[tuple[float, Sequence[int]]]) -> list[float]:
    """Return when each final token was first shown for good.

    Args:
        snapshots: Seconds of audio heard and the tokens shown then, in order; the last one is
            final.

    Returns:
        Seconds, for each token of the last snapshot.

    Example:
        >>> shown_at([(1.0, [5]), (2.0, [5, 7]), (3.0, [5, 8]), (4.0, [5, 8, 9])])
        [1.0, 3.0, 4.0]
    """
    final = list(snapshots[-1][1])
    times = [0.0] * len(final)
    settled = len(final)  # tokens that have not changed since the snapshot looked at
    for seconds, tokens in reversed(snapshots):
        settled = min(settled, _common_prefix(tokens, final))
        times[:settled] = [seconds] * settled
    return times


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length


def emission_delays(
    reference: Sequence[AlignedToken],
    tokens: Sequence[int],
    shown: Sequence[float],
    frames: Sequence[int],
    frame_ms: float,
) -> Delays:
    """Compare when tokens were shown with when they were spoken.

    Args:
        reference: The transcript, aligned.
        tokens: Token ids recognised ``(U,)``.
        shown: When each was shown for good, in seconds ``(U,)``.
        frames: Encoder frame that emitted each ``(U,)``.
        frame_ms: One encoder frame in ms.

    Returns:
        The delays of the correct tokens.
    """
    spoken = [one.token for one in reference]
    result = Delays([], [])
    for block in Levenshtein.opcodes(spoken, list(tokens)):
        if block.tag != "equal":
            continue
        for offset in range(block.src_end - block.src_start):
            end = reference[block.src_start + offset].end
            heard = block.dest_start + offset
            result.shown.append(1000.0 * (shown[heard] - end))
            result.emitted.append((frames[heard] + 1) * frame_ms - 1000.0 * end)
    return result


def summarise(delays: Sequence[Delays]) -> dict[str, object] | None:
    """Summarise the delays of many utterances.

    Args:
        delays: One for each utterance.

    Returns:
        Median and 90th percentile in ms over all tokens, over the first and over the last token of
        each utterance, and the number of each; None without any token.
    """
    spoken = [one for one in delays if one.shown]
    if not spoken:
        return None
    return {
        "tokens": sum(len(one.shown) for one in spoken),
        "utterances": len(spoken),
        "all": _percentiles([value for one in spoken for value in one.shown]),
        "first": _percentiles([one.shown[0] for one in spoken]),
        "last": _percentiles([one.shown[-1] for one in spoken]),
        "model": _percentiles([value for one in spoken for value in one.emitted]),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    median, p90 = np.percentile(values, [50, 90])
    return {"median": round(float(median), 1), "p90": round(float(p90), 1)}
