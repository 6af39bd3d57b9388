"""Token ids to tokens to text, without loading a tokeniser where none is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet2_supernet.asr.text import tokens_to_text
from espnet2_supernet.errors import ConfigError


class TextDecoder:
    """Turns token ids into tokens and text.

    Character, word and BPE tokens are joined here (SentencePiece's own decoder does the same for
    all but ``<unk>``), so a checkpoint can be decoded without its ``bpe.model``.

    Args:
        token_list: All tokens, by id.
        token_type: ``char``, ``word``, ``bpe``, another of ESPnet's types, or ``None`` = no text.
        bpemodel: SentencePiece model to decode with; ``None`` = join the pieces.

    Raises:
        ConfigError: If ``bpemodel`` is given but missing.
    """

    def __init__(
        self,
        token_list: Sequence[str],
        token_type: str | None = "char",
        bpemodel: str | Path | None = None,
    ) -> None:
        """Choose how tokens are joined."""
        self.token_list = list(token_list)
        self.token_type = token_type
        if bpemodel is not None and not Path(bpemodel).is_file():
            raise ConfigError(f"bpemodel: no such file: {bpemodel}")
        self._join = _joiner(token_type, bpemodel)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ``ids``."""
        return [self.token_list[i] for i in ids]

    def text(self, tokens: Sequence[str]) -> str | None:
        """Return the text of ``tokens``; ``None`` if no token type is known."""
        return None if self._join is None else self._join(tokens)


def _joiner(
    token_type: str | None, bpemodel: str | Path | None
) -> Callable[[Sequence[str]], str] | None:
    """Return the function from tokens to text."""
    if token_type is None:
        return None
    if token_type == "char":
        return tokens_to_text
    if token_type == "word":
        return " ".join
    if token_type == "bpe" and bpemodel is None:
        return lambda tokens: tokens_to_text(tokens).strip()
    return _espnet_tokenizer(token_type, bpemodel).tokens2text


def _espnet_tokenizer(token_type: str, bpemodel: str | Path | None) -> Any:
    """Return ESPnet's tokeniser of any other type."""
    from espnet2_supernet.compat import quiet

    quiet()
    from espnet2.text.build_tokenizer import build_tokenizer

    try:
        return build_tokenizer(token_type=token_type, bpemodel=bpemodel)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"token_type '{token_type}': {error}") from error
