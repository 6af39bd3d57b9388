"""The run: every utterance through every row, in turns, so that all meet the same machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from espnet2_supernet.measure.clock import StageClock, Times
from espnet2_supernet.measure.engines import Engine


@dataclass
class Record:
    """One utterance through one row, once.

    Attributes:
        seconds: Length of the audio.
        chunks: Times of the pieces that complete a chunk each.
        finish: Time from the end of the audio to the final result (the last, partial chunk; the
            whole utterance under full context).
        snapshots: After every piece, and after the end: seconds of audio heard, tokens so far.
        frames: Emission frames of the final tokens.
    """

    seconds: float
    chunks: list[Times] = field(default_factory=list)
    finish: Times = field(default_factory=Times)
    snapshots: list[tuple[float, list[int]]] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        """The final tokens."""
        return self.snapshots[-1][1]

    def total(self) -> Times:
        """Return the times of all pieces together."""
        total = Times()
        for one in [*self.chunks, self.finish]:
            total.wall += one.wall
            total.cpu += one.cpu
            for name, value in one.stage_wall.items():
                total.stage_wall[name] = total.stage_wall.get(name, 0.0) + value
            for name, value in one.stage_cpu.items():
                total.stage_cpu[name] = total.stage_cpu.get(name, 0.0) + value
        return total


def run_interleaved(
    engines: Sequence[Engine],
    utterances: Mapping[str, np.ndarray],
    repeats: int = 3,
    pass_done: Callable[[int], None] = lambda number: None,
) -> list[list[list[Record]]]:
    """Recognise all utterances with all rows, round robin.

    Within an utterance the rows take turns in an order that changes from utterance to utterance,
    so that no row always runs with the caches another one left. Before that the first utterance
    warms every row up.

    Args:
        engines: The rows.
        utterances: Waveforms ``(N,)`` at the rate of the rows, by id.
        repeats: Passes over all utterances.
        pass_done: Called with the number of a pass, from 1, when it is done.

    Returns:
        Records by row, pass and utterance.
    """
    clock = StageClock()
    for engine in engines:
        recognise(engine, next(iter(utterances.values())), clock)
    records: list[list[list[Record]]] = [[[] for _ in range(repeats)] for _ in engines]
    for one_pass in range(repeats):
        for position, samples in enumerate(utterances.values()):
            for row in turn(len(engines), one_pass * len(utterances) + position):
                records[row][one_pass].append(recognise(engines[row], samples, clock))
        pass_done(one_pass + 1)
    return records


def turn(rows: int, number: int) -> list[int]:
    """Return the order of the rows in a turn: a Williams design (Australian J. Sci. Res. A2, 1949).

    Over ``rows`` turns, twice as many if there is an odd number of them, every row has every place
    equally often and every other row before it equally often: what a row leaves in the caches
    slows all that follow it alike.

    Args:
        rows: Number of rows.
        number: Number of the turn, from 0.

    Example:
        >>> [turn(4, number) for number in range(4)]
        [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    zigzag = [(i + 1) // 2 if i % 2 else rows - i // 2 for i in range(rows)]
    order = [(row + number) % rows for row in zigzag]
    return order[::-1] if rows % 2 and number // rows % 2 else order


def recognise(engine: Engine, samples: np.ndarray, clock: StageClock) -> Record:
    """Recognise one utterance as if it arrived piece by piece.

    Args:
        engine: The row.
        samples: Waveform ``(N,)``.
        clock: The clock.

    Returns:
        Times, and what was known when.
    """
    info = engine.info
    record = Record(len(samples) / info.fs)
    stream = engine.open(clock)
    first, further = info.piece_lengths()
    bounds = [0, *range(first, len(samples) + 1, further)]
    for start, end in zip(bounds, bounds[1:], strict=False):
        _, times = clock.measure(lambda piece=samples[start:end]: stream.accept(piece))  # type: ignore[misc]
        record.chunks.append(times)
        record.snapshots.append((end / info.fs, stream.tokens()))

    def end_stream() -> None:
        if bounds[-1] < len(samples):
            stream.accept(samples[bounds[-1] :])
        stream.finish()

    _, record.finish = clock.measure(end_stream)
    record.snapshots.append((record.seconds, stream.tokens()))
    record.frames = stream.frames()
    return record
