"""Paired tests of WER between decodes that were scored on the same set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.results import Decode
from espnet2_supernet.report.scoring import Score
from espnet2_supernet.report.significance import Bootstrap, PairedTest, paired_bootstrap


@dataclass(frozen=True)
class Pair:
    """One paired test.

    Attributes:
        test_set: Where both were scored.
        first: Label of decode A.
        second: Label of decode B.
        test: Difference A - B; None for fewer than two units.
    """

    test_set: str
    first: str
    second: str
    test: PairedTest | None


def compare(
    decodes: Sequence[Decode],
    sets: Sequence[str],
    method: Bootstrap,
    chosen: Sequence[tuple[Decode, Decode]] | None = None,
) -> list[Pair]:
    """Test pairs of decodes on every test set that both have.

    Args:
        decodes: The rows of the table.
        sets: Names of the test sets.
        method: How to resample.
        chosen: The pairs; default: all of them.

    Returns:
        The tests, by set, then in the order of the rows.

    Raises:
        DataError: If two decodes were scored against different references.
    """
    pairs = []
    for name in sets:
        for first, second in combinations(decodes, 2) if chosen is None else chosen:
            score_a, score_b = first.score(name), second.score(name)
            if score_a is None or score_b is None:
                continue
            where = f"{name}: {first.label} and {second.label}"
            test = compare_scores(score_a, score_b, method, where)
            pairs.append(Pair(name, first.label, second.label, test))
    return pairs


def compare_scores(a: Score, b: Score, method: Bootstrap, where: str) -> PairedTest | None:
    """Test two scores of the same test set.

    Args:
        a: Score of system A.
        b: Score of system B.
        method: How to resample.
        where: Named in the error.

    Returns:
        The test; None for fewer than two units.

    Raises:
        DataError: If ids, reference lengths, speakers or scorers differ.
    """
    keys = sorted(a.utterances)
    lengths = [a.utterances[key].reference_length for key in keys]
    if keys != sorted(b.utterances) or a.speakers != b.speakers:
        raise DataError(f"{where}: scored on different utterances or speakers; score both again")
    if lengths != [b.utterances[key].reference_length for key in keys]:
        raise DataError(f"{where}: scored against different references; score both again")
    if a.scorer != b.scorer:
        raise DataError(
            f"{where}: scored by '{a.scorer}' and by '{b.scorer}'; score both by the same"
        )
    return paired_bootstrap(
        [a.utterances[key].errors for key in keys],
        [b.utterances[key].errors for key in keys],
        lengths,
        [a.speakers[key] for key in keys],
        method,
    )
