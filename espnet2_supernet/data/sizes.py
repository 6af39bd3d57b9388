"""Published sizes of corpora: an incomplete copy must not pass for the whole."""

from __future__ import annotations

from dataclasses import dataclass

from espnet2_supernet.data.datadir import DataDir
from espnet2_supernet.errors import DataError


@dataclass(frozen=True)
class KnownSize:
    """Size of a published set.

    Attributes:
        utterances: Number of utterances.
        words: Number of words, None where no published number is known to us.
    """

    utterances: int
    words: int | None = None

    def check(self, name: str, data: DataDir, hint: str) -> None:
        """Compare a data directory with the published size; words only where there is text.

        Raises:
            DataError: If the numbers differ; ``hint`` says what the user can do.
        """
        if len(data) != self.utterances:
            raise DataError(
                f"{name}: {len(data)} utterances found, {self.utterances} expected; {hint}"
            )
        if self.words is not None and data.text and data.num_words != self.words:
            raise DataError(f"{name}: {data.num_words} words found, {self.words} expected; {hint}")
