"""Token ids to tokens to text, without a tokeniser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from espnet2_supernet.errors import ConfigError

SPACE = "<space>"  # ESPnet's stand-in for a blank in character token lists
WORD_MARK = "\u2581"  # SentencePiece's mark of a word's beginning

Joiner = Callable[[Sequence[str]], str]


def tokens_to_text(tokens: Sequence[str]) -> str:
    """Join BPE pieces or characters; blanks stay where the tokens put them.

    >>> tokens_to_text(["\u2581HE", "LLO", "\u2581", "W"])
    ' HELLO W'
    >>> tokens_to_text(["H", "I", "<space>", "A"])
    'HI A'
    """
    return "".join(tokens).replace(SPACE, " ").replace(WORD_MARK, " ")


def bpe_to_text(tokens: Sequence[str]) -> str:
    """Join BPE pieces as SentencePiece does (all but ``<unk>``), so its model is not needed."""
    return tokens_to_text(tokens).strip()


JOINERS: dict[str, Joiner] = {"char": tokens_to_text, "word": " ".join, "bpe": bpe_to_text}


class TextDecoder:
    """Turns token ids into tokens and text.

    Args:
        token_list: All tokens, by id.
        join: Tokens to text; ``None`` = no text.
    """

    def __init__(self, token_list: Sequence[str], join: Joiner | None) -> None:
        """Remember the tokens."""
        self.token_list = list(token_list)
        self._join = join

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ``ids``."""
        return [self.token_list[i] for i in ids]

    def text(self, tokens: Sequence[str]) -> str | None:
        """Return the text of ``tokens``; ``None`` if no token type is known."""
        return None if self._join is None else self._join(tokens)


def joiner(token_type: str | None) -> Joiner | None:
    """Return the function from tokens to text.

    Args:
        token_type: ``char``, ``word``, ``bpe``, or ``None`` = no text.

    Raises:
        ConfigError: If the type is another one.
    """
    if token_type is None:
        return None
    if token_type not in JOINERS:
        known = ", ".join(JOINERS)
        raise ConfigError(f"token_type '{token_type}': {known} can be joined without ESPnet")
    return JOINERS[token_type]
