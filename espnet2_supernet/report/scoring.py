"""Score one decoded test set: ``trn`` files, sclite or the fallback, interval, summary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.align import check_counts, count_errors
from espnet2_supernet.report.counts import Counts, sum_counts
from espnet2_supernet.report.files import remove, write_atomic
from espnet2_supernet.report.sclite import HOW_TO_GET, find_sclite, run_sclite
from espnet2_supernet.report.sclite_table import render_tables
from espnet2_supernet.report.significance import Bootstrap, Interval, bootstrap_interval
from espnet2_supernet.report.trn import check_ids, read_key_file, tokenize, trn_ids, write_trn

SCORERS = ("auto", "sclite", "python")
SCLITE = "sclite"
PYTHON = "python (minimum edit distance)"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Transcripts:
    """Reference and hypothesis of a test set, ids checked.

    Attributes:
        reference: ``{utterance: text}``.
        hypothesis: ``{utterance: text}``, same ids.
        speakers: ``{utterance: speaker}``, same ids.
    """

    reference: dict[str, str]
    hypothesis: dict[str, str]
    speakers: dict[str, str]


@dataclass(frozen=True)
class Score:
    """Result of scoring one test set in one token type.

    Attributes:
        token_type: ``wer`` or ``cer``.
        scorer: What counted the errors.
        utterances: ``{utterance: counts}``.
        speakers: ``{utterance: speaker}``.
        interval: Of the error rate; None for fewer than two units.
        command: The command line that made it.
        inputs: The files scored.
    """

    token_type: str
    scorer: str
    utterances: dict[str, Counts]
    speakers: dict[str, str]
    interval: Interval | None
    command: str = ""
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Counts:
        """Counts of the whole set."""
        return sum_counts(self.utterances.values())

    @property
    def sentence_errors(self) -> int:
        """Utterances with at least one error."""
        return sum(counts.errors > 0 for counts in self.utterances.values())


def read_transcripts(reference: Path, hypothesis: Path, utt2spk: Path) -> Transcripts:
    """Read the three files of a test set and compare their ids.

    Args:
        reference: ``text`` of the set.
        hypothesis: ``text`` of the decode.
        utt2spk: Speaker of every utterance.

    Returns:
        The transcripts.

    Raises:
        DataError: If a file is bad, ids differ, or the reference has no word at all.
    """
    references, hypotheses = read_key_file(reference), read_key_file(hypothesis)
    speakers = read_key_file(utt2spk)
    check_ids(references, hypotheses, str(reference), str(hypothesis))
    check_ids(references, speakers, str(reference), str(utt2spk))
    if not any(references.values()):
        raise DataError(f"{reference}: no words in any utterance; nothing to score against")
    return Transcripts(references, hypotheses, speakers)


def choose_scorer(scorer: str) -> Path | None:
    """Find the program that counts.

    Args:
        scorer: ``auto``, ``sclite`` or ``python``.

    Returns:
        The sclite program; None for the Python scorer.

    Raises:
        ConfigError: If sclite is asked for and absent, or the name is unknown.
    """
    if scorer not in SCORERS:
        raise ConfigError(f"scorer '{scorer}' is unknown; use one of {', '.join(SCORERS)}")
    if scorer == "python":
        return None
    program = find_sclite()
    if program is None and scorer == "sclite":
        raise ConfigError(f"sclite is not found; {HOW_TO_GET}")
    return program


def score_set(
    transcripts: Transcripts,
    folder: Path,
    token_type: str,
    program: Path | None,
    method: Bootstrap,
    command: str = "",
    inputs: Mapping[str, str] | None = None,
) -> Score:
    """Score one test set into a folder: ``ref.trn hyp.trn result.txt summary.json``.

    Args:
        transcripts: What was said and what was recognised.
        folder: Where the files go; a summary already there is removed first.
        token_type: ``wer`` or ``cer``.
        program: sclite, or None for the Python scorer.
        method: How the interval is resampled.
        command: Command line to record.
        inputs: Files scored, to record.

    Returns:
        The score.

    Raises:
        DataError: If the transcripts cannot be scored, or sclite and the oracle disagree.
        SupernetError: If sclite fails.
    """
    remove(folder / SUMMARY)
    names = trn_ids(dict(sorted(transcripts.speakers.items())))
    counts = _count(transcripts, folder, token_type, program, names)
    speakers = {key: transcripts.speakers[key] for key in names}
    interval = bootstrap_interval(
        [item.errors for item in counts.values()],
        [item.reference_length for item in counts.values()],
        list(speakers.values()),
        method,
    )
    scorer = SCLITE if program is not None else PYTHON
    score = Score(token_type, scorer, counts, speakers, interval, command, dict(inputs or {}))
    write_atomic(folder / SUMMARY, json.dumps(summary_dict(score), indent=1) + "\n")
    return score


def _count(
    transcripts: Transcripts,
    folder: Path,
    token_type: str,
    program: Path | None,
    names: Mapping[str, str],
) -> dict[str, Counts]:
    """Write the ``trn`` files and ``result.txt``; return the counts in the order of names."""
    ref = {key: tokenize(transcripts.reference[key], token_type) for key in names}
    hyp = {key: tokenize(transcripts.hypothesis[key], token_type) for key in names}
    write_trn(folder / "ref.trn", ref, names)
    write_trn(folder / "hyp.trn", hyp, names)
    if program is None:
        counts = {key: count_errors(ref[key], hyp[key]) for key in names}
        write_atomic(folder / "result.txt", render_tables(counts, transcripts.speakers, PYTHON))
        return counts
    counts = run_sclite(program, folder, names)
    check_counts(ref, hyp, counts)
    return counts


def summary_dict(score: Score) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Args:
        score: The score.

    Returns:
        Totals first, then the interval, then the counts of every utterance.
    """
    total = score.total
    return {
        "token_type": score.token_type,
        "scorer": score.scorer,
        "command": score.command,
        "inputs": score.inputs,
        "error_rate": total.error_rate,
        "sentences": len(score.utterances),
        "tokens": total.reference_length,
        "errors": total.errors,
        "sentence_errors": score.sentence_errors,
        **total.to_dict(),
        "interval": score.interval.to_dict() if score.interval else None,
        "utterances": {
            key: {"speaker": score.speakers[key], **counts.to_dict()}
            for key, counts in score.utterances.items()
        },
    }
