"""Token ids to text, also with ESPnet's tokenisers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime import text
from espnet2_supernet.runtime.text import JOINERS, Joiner


class TextDecoder(text.TextDecoder):
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
        self.token_type = token_type
        if bpemodel is not None and not Path(bpemodel).is_file():
            raise ConfigError(f"bpemodel: no such file: {bpemodel}")
        super().__init__(token_list, _joiner(token_type, bpemodel))


def _joiner(token_type: str | None, bpemodel: str | Path | None) -> Joiner | None:
    """Return the function from tokens to text."""
    if token_type is None:
        return None
    if token_type in JOINERS and (token_type != "bpe" or bpemodel is None):
        return JOINERS[token_type]
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
