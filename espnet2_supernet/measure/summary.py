"""From records to the numbers of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from espnet2_supernet.measure.clock import STAGES, Times
from espnet2_supernet.measure.emission import (
    AlignedToken,
    emission_delays,
    shown_at,
    summarise,
)
from espnet2_supernet.measure.engines import Engine, EngineInfo
from espnet2_supernet.measure.interleave import Record
from espnet2_supernet.report.align import count_errors
from espnet2_supernet.report.counts import sum_counts
from espnet2_supernet.report.significance import Bootstrap, bootstrap_interval

CLOCKS: dict[str, tuple[Callable[[Times], float], Callable[[Times], dict[str, float]]]] = {
    "wall": (lambda times: times.wall, lambda times: times.stage_wall),
    "cpu": (lambda times: times.cpu, lambda times: times.stage_cpu),
}


def describe(info: EngineInfo) -> dict[str, Any]:
    """Return what is known of a row before it is measured."""
    context = {
        "chunk_size": info.chunk_size,
        "left_context": info.left_context,
        "right_context": info.right_context,
    }
    return {
        "label": info.label,
        "subnet": info.subnet,
        "engine": info.engine,
        "precision": info.precision,
        "context": "full" if info.is_full else context,
        "search": info.search,
        "beam_size": info.beam_size,
        "use": info.output,
        "algorithmic_latency_ms": info.algorithmic_latency_ms,
        "bytes_on_disk": info.bytes_on_disk,
        "files": info.files,
    }


def speed(passes: Sequence[Sequence[Record]], is_full: bool) -> dict[str, Any]:
    """Return real-time factor and times per chunk of one row.

    Every utterance and every chunk was measured once in each pass; the median of these stands for
    it, so that a moment of foreign load does not. Percentiles are those over chunks.

    Args:
        passes: Records by pass and utterance.
        is_full: Whether the row has full context, and so no chunks.

    Returns:
        ``real_time_factor`` by clock and stage, ``chunk_ms`` by clock and ``finish_ms``.
    """
    utterances = list(zip(*passes, strict=True))
    audio = sum(takes[0].seconds for takes in utterances)
    factors: dict[str, Any] = {}
    for name, (total, by_stage) in CLOCKS.items():
        totals = [[record.total() for record in takes] for takes in utterances]
        whole = sum(median(map(total, takes)) for takes in totals) / 1000.0 / audio
        stages = {
            stage: sum(median(by_stage(one).get(stage, 0.0) for one in takes) for takes in totals)
            for stage in STAGES
        }
        factors[name] = {"total": whole, **{k: v / 1000.0 / audio for k, v in stages.items()}}
    return {
        "real_time_factor": factors,
        "chunk_ms": None if is_full else _chunk_times(utterances),
        "finish_ms": {
            name: _percentiles([median(total(r.finish) for r in takes) for takes in utterances])
            for name, (total, _) in CLOCKS.items()
        },
    }


def _chunk_times(utterances: Sequence[tuple[Record, ...]]) -> dict[str, Any] | None:
    chunks = [
        takes for records in utterances for takes in zip(*(r.chunks for r in records), strict=True)
    ]
    if not chunks:
        return None
    result: dict[str, Any] = {"chunks": len(chunks)}
    for name, (total, by_stage) in CLOCKS.items():
        result[name] = _percentiles([median(map(total, takes)) for takes in chunks])
        result[name]["stages"] = {
            stage: float(
                np.median([median(by_stage(t).get(stage, 0.0) for t in c) for c in chunks])
            )
            for stage in STAGES
        }
    return result


def _percentiles(values: Sequence[float]) -> dict[str, Any]:
    found = np.percentile(values, [50, 90, 99])
    return dict(zip(("median", "p90", "p99"), map(float, found), strict=True))


def accuracy(engine: Engine, records: Sequence[Record], texts: Sequence[str]) -> dict[str, Any]:
    """Return the WER over the measured utterances with its interval, by the Python scorer.

    Args:
        engine: The row, which knows its tokens.
        records: One pass.
        texts: Transcripts, in the same order.
    """
    each = [
        count_errors(text.split(), engine.text(record.tokens).split())
        for record, text in zip(records, texts, strict=True)
    ]
    total = sum_counts(each)
    errors, words = [one.errors for one in each], [one.reference_length for one in each]
    speakers = [str(index) for index in range(len(each))]
    interval = bootstrap_interval(errors, words, speakers, Bootstrap("utterance"))
    return {
        "errors": total.errors,
        "words": total.reference_length,
        "wer": total.error_rate,
        "interval": interval and {"low": interval.low, "high": interval.high},
    }


def delay(
    info: EngineInfo, records: Sequence[Record], aligned: Sequence[Sequence[AlignedToken]]
) -> Mapping[str, Any] | None:
    """Return the token emission delays of a row, see :mod:`emission`.

    Args:
        info: The row.
        records: One pass.
        aligned: The transcripts with their times, in the same order.
    """
    delays = [
        emission_delays(
            reference, record.tokens, shown_at(record.snapshots), record.frames, info.frame_ms
        )
        for record, reference in zip(records, aligned, strict=True)
    ]
    return summarise(delays)
