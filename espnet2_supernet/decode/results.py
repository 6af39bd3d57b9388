"""What a search found, in the shape of ESPnet's results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from espnet2_supernet.decode.text import TextDecoder
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis

Result = tuple[str | None, list[str], list[int], "Hypothesis"]


@dataclass(frozen=True)
class Hypothesis:
    """The last element of a result.

    Attributes:
        score: Natural log score.
        yseq: Token ids, without start and end symbols.
        frames: Encoder frame at which each token was emitted, dropped frames counted.
        times: Start of that frame in seconds.
    """

    score: float = 0.0
    yseq: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def make_results(
    found: Sequence[SearchHypothesis], decoder: TextDecoder, frame_ms: float
) -> list[Result]:
    """Turn hypotheses of a search into ESPnet's result tuples.

    Args:
        found: Hypotheses, best first.
        decoder: Token ids to text.
        frame_ms: Duration of an encoder frame.
    """
    results: list[Result] = []
    for one in found:
        ids, tokens = list(one.tokens), decoder.tokens(one.tokens)
        times = [frame * frame_ms / 1000.0 for frame in one.frames]
        hypothesis = Hypothesis(one.score, ids, list(one.frames), times)
        results.append((decoder.text(tokens), tokens, ids, hypothesis))
    return results
