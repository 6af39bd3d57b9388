"""One run of the report: rows and utterances in, everything that ``latency.json`` holds out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_supernet.errors import DataError, SupernetError
from espnet2_supernet.measure import summary
from espnet2_supernet.measure.emission import AlignedToken
from espnet2_supernet.measure.engines import Engine
from espnet2_supernet.measure.interleave import Record, run_interleaved
from espnet2_supernet.measure.machine import (
    ForeignLoad,
    cpu_features,
    cpu_name,
    pinned,
    single_threaded_libraries,
)
from espnet2_supernet.measure.memory import peak_memory
from espnet2_supernet.measure.rows import NotMeasured, RowSpec, build

FORMAT = 1
_SAME_DECODE = ("experiment", "subnet", "context", "search", "beam_size", "use")


@dataclass(frozen=True)
class Utterance:
    """What is recognised.

    Attributes:
        key: Its id.
        path: Audio file.
        samples: Waveform ``(N,)``.
        text: Transcript; None if unknown.
    """

    key: str
    path: Path
    samples: np.ndarray
    text: str | None = None


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        repeats: Passes over all utterances.
        core: Core to run on; None leaves it to the system.
        memory_utterances: Utterances that each row streams while its memory is measured; 0
            leaves memory out.
    """

    repeats: int = 3
    core: int | None = None
    memory_utterances: int = 3


def load_rows(specs: Sequence[RowSpec]) -> tuple[list[tuple[RowSpec, Engine]], list[dict]]:
    """Load the rows.

    Args:
        specs: What to load.

    Returns:
        The rows that can be measured, and ``{"label": ..., "not_measured": why}`` of the others.

    Raises:
        SupernetError: If a file of a row is missing or damaged.
    """
    loaded: list[tuple[RowSpec, Engine]] = []
    missing = []
    for spec in specs:
        try:
            loaded.append((spec, build(spec)))
        except NotMeasured as error:
            name = f"{spec.prefix}{Path(spec.folder).name} {spec.kind}"
            about = {"label": name, "experiment": spec.experiment}
            missing.append({**about, "not_measured": str(error)})
    return loaded, missing


def measure(
    rows: Sequence[tuple[RowSpec, Engine]],
    utterances: Sequence[Utterance],
    plan: Plan,
    aligned: Sequence[Sequence[AlignedToken]] | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> dict[str, Any]:
    """Measure all rows on all utterances.

    Args:
        rows: The rows, loaded.
        utterances: What to recognise.
        plan: How to measure.
        aligned: The transcripts with their times; None leaves emission delays out.
        say: Told what happens.

    Returns:
        Content of ``latency.json`` without the rows that could not be loaded.

    Raises:
        DataError: If no utterance holds a sample.
    """
    if not any(one.samples.size for one in utterances):
        raise DataError("nothing to measure: no utterance holds any sound")
    engines = [engine for _, engine in rows]
    records, foreign_load = _run(engines, utterances, plan, say)
    table = [
        _row(spec, engine, passes, utterances, plan, aligned, say)
        for (spec, engine), passes in zip(rows, records, strict=True)
    ]
    _compare(table, records)
    return {
        "format": FORMAT,
        "machine": {
            "cpu": cpu_name(),
            "features": cpu_features(),
            "threads": 1,
            "core": plan.core,
            "foreign_load": foreign_load,
        },
        "utterances": len(utterances),
        "audio_seconds": sum(len(o.samples) for o in utterances) / engines[0].info.fs,
        "repeats": plan.repeats,
        "rows": table,
    }


def _run(
    engines: Sequence[Engine],
    utterances: Sequence[Utterance],
    plan: Plan,
    say: Callable[[str], None],
) -> tuple[list[list[list[Record]]], list[float]]:
    """Return the records, and how busy others kept the core in each pass."""
    with pinned(plan.core), single_threaded_libraries():
        load = ForeignLoad(plan.core)

        def pass_done(number: int) -> None:
            load.note()
            say(f"pass {number} of {plan.repeats}")

        waves = {one.key: one.samples for one in utterances}
        return run_interleaved(engines, waves, plan.repeats, pass_done), load.shares


def _row(
    spec: RowSpec,
    engine: Engine,
    passes: Sequence[Sequence[Record]],
    utterances: Sequence[Utterance],
    plan: Plan,
    aligned: Sequence[Sequence[AlignedToken]] | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return everything about one row."""
    info = engine.info
    row = {"experiment": spec.experiment, **summary.describe(info)}
    row |= summary.speed(passes, info.is_full)
    row["keep_ratio"] = engine.keep_ratio([one.samples for one in utterances])
    texts = [one.text for one in utterances if one.text is not None]
    if len(texts) == len(utterances):
        row["accuracy"] = summary.accuracy(engine, passes[0], texts)
    if aligned is not None:
        row["token_delay_ms"] = summary.delay(info, passes[0], aligned)
    row["peak_memory_bytes"] = _memory(spec, utterances, plan, say)
    return row


def _memory(
    spec: RowSpec, utterances: Sequence[Utterance], plan: Plan, say: Callable[[str], None]
) -> int | None:
    files = [one.path for one in utterances[: plan.memory_utterances]]
    if not files:
        return None
    try:
        return peak_memory(spec, files)
    except SupernetError as error:
        say(str(error))
        return None


def _compare(
    table: Sequence[dict[str, Any]], records: Sequence[Sequence[Sequence[Record]]]
) -> None:
    """Note in each row how many hypotheses differ from those of the same subnet in torch fp32."""
    for row, passes in zip(table, records, strict=True):
        for other, reference in zip(table, records, strict=True):
            same = all(row[key] == other[key] for key in _SAME_DECODE)
            if same and (other["engine"], other["precision"]) == ("torch", "fp32"):
                pairs = zip(passes[0], reference[0], strict=True)
                row["differing_from_torch_fp32"] = sum(a.tokens != b.tokens for a, b in pairs)
                break
