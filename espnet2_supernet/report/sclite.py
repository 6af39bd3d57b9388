"""Run NIST sclite and read its result: totals, percentages and counts of every utterance."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet2_supernet.errors import DataError, SupernetError
from espnet2_supernet.report.counts import Counts, sum_counts
from espnet2_supernet.report.files import write_atomic
from espnet2_supernet.report.trn import fold_case

DEBIAN_FOLDER = Path("/usr/lib/sctk/bin")
HOW_TO_GET = (
    "install the Debian/Ubuntu package 'sctk' (apt-get install sctk), or build "
    "tools/sctk in an ESPnet checkout and set ESPNET_ROOT; "
    "the PyPI package 'sctk' is an unrelated biology tool"
)
# A number may fill its column, and then touches the one before it only after '|'.
_PERCENT_ROW = re.compile(r"^\s*\|\s*Sum/Avg\s*\|(.*)\|\s*$", re.MULTILINE)
_COUNT_ROW = re.compile(r"^\s*\|\s*Sum\s*\|(.*)\|\s*$", re.MULTILINE)
_UTTERANCE = re.compile(
    r"^id: \((.+)\)\s*\nScores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)\s*$", re.MULTILINE
)


@dataclass(frozen=True)
class SumRow:
    """The last row of sclite's two tables.

    Attributes:
        sentences: Utterances scored.
        tokens: Reference tokens.
        counts: Error counts.
        sentence_errors: Utterances with at least one error.
        percentages: ``Corr Sub Del Ins Err S.Err`` as printed, one decimal.
    """

    sentences: int
    tokens: int
    counts: Counts
    sentence_errors: int
    percentages: tuple[float, ...]


def find_sclite() -> Path | None:
    """Find sclite on PATH, in Debian's folder, or in an ESPnet checkout (``ESPNET_ROOT``).

    Returns:
        The program, or None when there is none.
    """
    on_path = shutil.which("sclite")
    if on_path:
        return Path(on_path)
    folders = [DEBIAN_FOLDER]
    if root := os.environ.get("ESPNET_ROOT"):
        folders.append(Path(root) / "tools" / "sctk" / "bin")
    for folder in folders:
        program = folder / "sclite"
        if program.is_file() and os.access(program, os.X_OK):
            return program
    return None


def run_sclite(program: Path, folder: Path, names: Mapping[str, str]) -> dict[str, Counts]:
    """Score ``ref.trn`` and ``hyp.trn`` of a folder into ``result.txt``, as ESPnet does.

    Args:
        program: The sclite program.
        folder: Holds the two ``trn`` files.
        names: ``{utterance: trn id}`` of the utterances.

    Returns:
        ``{utterance: counts}`` in the order of ``names``.

    Raises:
        SupernetError: If sclite fails.
        DataError: If its result is not complete or does not add up.
    """
    command = [str(program.absolute())]
    command += "-r ref.trn trn -h hyp.trn trn -i rm -o all stdout".split()
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    text = done.stdout.decode("utf-8", errors="replace")
    if done.returncode != 0 or "Sum/Avg" not in text:
        complaint = done.stderr.decode("utf-8", errors="replace").strip() or "no message"
        raise SupernetError(
            f"{folder}: sclite failed with status {done.returncode}: {complaint}; "
            f"repeat with: cd {folder} && {' '.join(command)}"
        )
    write_atomic(folder / "result.txt", text)
    counts = parse_utterances(text, names, str(folder / "result.txt"))
    _check_sums(parse_sum_row(text, str(folder / "result.txt")), counts, folder / "result.txt")
    return counts


def parse_sum_row(text: str, where: str) -> SumRow:
    """Read the ``Sum/Avg`` row of the percentages and the ``Sum`` row of the integers.

    Args:
        text: Content of ``result.txt``.
        where: Named in the errors.

    Returns:
        Both rows.

    Raises:
        DataError: If a row is missing or malformed.
    """
    percent, integer = _PERCENT_ROW.search(text), _COUNT_ROW.search(text)
    if percent is None or integer is None:
        raise DataError(f"{where}: no Sum row; score again")
    try:
        _, *percentages = percent.group(1).split("|")
        rates = tuple(float(value) for value in " ".join(percentages).split())
        values = [int(value) for value in integer.group(1).replace("|", " ").split()]
        sentences, tokens, correct, sub, dele, ins, errors, sentence_errors = values
    except ValueError as error:
        raise DataError(f"{where}: cannot read the Sum rows: {error}; score again") from error
    counts = Counts(correct, sub, dele, ins)
    if len(rates) != 6 or counts.errors != errors or counts.reference_length != tokens:
        raise DataError(f"{where}: the Sum row does not add up; score again")
    return SumRow(sentences, tokens, counts, sentence_errors, rates)


def parse_utterances(text: str, names: Mapping[str, str], where: str) -> dict[str, Counts]:
    """Read the counts of every utterance from the alignment part of ``result.txt``.

    Args:
        text: Content of ``result.txt``.
        names: ``{utterance: trn id}`` expected; sclite prints ids in lower case.
        where: Named in the errors.

    Returns:
        ``{utterance: counts}`` in the order of ``names``.

    Raises:
        DataError: If an utterance is missing: sclite dropped it.
    """
    found = {fold_case(m[1]): Counts(*map(int, m.groups()[1:])) for m in _UTTERANCE.finditer(text)}
    missing = [key for key, name in names.items() if fold_case(name) not in found]
    if missing or len(found) != len(names):
        raise DataError(
            f"{where}: {len(found)} utterances scored, {len(names)} expected; "
            f"missing: {', '.join(missing[:10]) or 'none'}"
        )
    return {key: found[fold_case(name)] for key, name in names.items()}


def _check_sums(row: SumRow, counts: Mapping[str, Counts], path: Path) -> None:
    total = sum_counts(counts.values())
    wrong = sum(item.errors > 0 for item in counts.values())
    if (row.counts, row.sentences, row.sentence_errors) != (total, len(counts), wrong):
        raise DataError(f"{path}: the utterances do not add up to the Sum row: {total} {row}")
    printed, exact = row.percentages[4], total.error_rate
    if total.reference_length and abs(printed - exact) > 0.051:
        raise DataError(f"{path}: Sum/Avg prints {printed} %, the counts give {exact:.3f} %")
