"""Error counts without sclite: the fallback scorer, and the oracle that checks sclite.

The fallback takes the smallest number of edits (rapidfuzz, the engine inside jiwer). sclite
instead minimises ``4 S + 3 D + 3 I``, so that where one extra error saves substitutions its
total may be higher (5 substitutions cost 20, 3 insertions + 3 deletions 18), and S/D/I may be
split differently at equal cost. The oracle therefore compares costs, which must agree exactly,
and not the counts. Letters are compared without case in ASCII, like sclite's default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from espnet2_supernet.errors import DataError
from espnet2_supernet.report.counts import Counts
from espnet2_supernet.report.trn import fold_case

INSERTION_COST = DELETION_COST = 3
SUBSTITUTION_COST = 4


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Counts:
    """Count the errors of one utterance along an alignment with the fewest edits.

    Args:
        reference: Tokens spoken.
        hypothesis: Tokens recognised.

    Returns:
        The counts; either side may be empty.
    """
    edits = Levenshtein.editops(_folded(reference), _folded(hypothesis))
    kinds = Counter(edit.tag for edit in edits)
    substitutions, deletions = kinds["replace"], kinds["delete"]
    correct = len(reference) - substitutions - deletions
    return Counts(correct, substitutions, deletions, kinds["insert"])


def check_counts(
    reference: Mapping[str, Sequence[str]],
    hypothesis: Mapping[str, Sequence[str]],
    counts: Mapping[str, Counts],
) -> None:
    """Check sclite's counts of every utterance against an independent alignment.

    Args:
        reference: ``{utterance: tokens}``.
        hypothesis: ``{utterance: tokens}``.
        counts: ``{utterance: sclite's counts}``.

    Raises:
        DataError: If the lengths or the alignment cost of an utterance differ.
    """
    weights = (INSERTION_COST, DELETION_COST, SUBSTITUTION_COST)
    for key, found in counts.items():
        tokens, guess = reference[key], hypothesis[key]
        cost = Levenshtein.distance(_folded(tokens), _folded(guess), weights=weights)
        expected = (len(tokens), len(guess), cost)
        seen = (found.reference_length, found.hypothesis_length, _sclite_cost(found))
        if seen != expected:
            raise DataError(
                f"utterance '{key}': sclite and the Python scorer disagree: (reference tokens, "
                f"hypothesis tokens, cost) {seen} against {expected}; use --scorer python and "
                "report this transcript"
            )


def _folded(tokens: Sequence[str]) -> list[str]:
    return [fold_case(token) for token in tokens]


def _sclite_cost(counts: Counts) -> int:
    return (
        SUBSTITUTION_COST * counts.substitutions
        + DELETION_COST * counts.deletions
        + INSERTION_COST * counts.insertions
    )
