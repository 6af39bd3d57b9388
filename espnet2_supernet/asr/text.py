"""Characters or BPE pieces to words."""

from __future__ import annotations

from collections.abc import Sequence

SPACE = "<space>"  # ESPnet's stand-in for a blank in character token lists
WORD_MARK = "\u2581"  # SentencePiece's mark of a word's beginning


def tokens_to_text(tokens: Sequence[str]) -> str:
    """Join BPE pieces or characters; blanks stay where the tokens put them.

    >>> tokens_to_text(["\u2581HE", "LLO", "\u2581", "W"])
    ' HELLO W'
    >>> tokens_to_text(["H", "I", "<space>", "A"])
    'HI A'
    """
    return "".join(tokens).replace(SPACE, " ").replace(WORD_MARK, " ")
