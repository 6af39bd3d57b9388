"""Token lists in ESPnet's order: ``<blank>``, ``<unk>``, the tokens, ``<sos/eos>``."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet2_supernet.atomic import atomic_path
from espnet2_supernet.data.datadir import read_table
from espnet2_supernet.data.files import read_lines, write_lines
from espnet2_supernet.errors import DataError

BLANK, UNK, SOS_EOS, SPACE = "<blank>", "<unk>", "<sos/eos>", "<space>"
TOKEN_TYPES = ("bpe", "char", "word")


def read_transcripts(paths: Sequence[str | Path]) -> list[str]:
    """Read the transcripts of Kaldi ``text`` files, leaving out the empty ones.

    Raises:
        DataError: If a file is bad or no transcript has a word.
    """
    texts = [
        " ".join(words.split())
        for path in paths
        for words in read_table(path, allow_empty=True).values()
        if words
    ]
    if not texts:
        raise DataError(f"{', '.join(map(str, paths))}: no transcript has a word")
    return texts


def write_token_list(path: str | Path, tokens: Iterable[str]) -> list[str]:
    """Write ``tokens.txt`` with ESPnet's three special tokens around ``tokens``.

    Returns:
        The whole list.
    """
    full = [BLANK, UNK, *tokens, SOS_EOS]
    write_lines(path, full)
    return full


def by_frequency(counts: Counter[str]) -> list[str]:
    """Sort tokens by falling count, ties by their bytes (so that every machine agrees)."""
    return sorted(counts, key=lambda token: (-counts[token], token.encode("utf-8")))


def split_chars(text: str, symbols: Sequence[str] = ()) -> list[str]:
    """Split a transcript into characters as ESPnet does: blanks become ``<space>``.

    Args:
        text: The transcript.
        symbols: Strings such as ``<noise>`` that stay whole.
    """
    pattern = "|".join([*map(re.escape, sorted(symbols, key=len, reverse=True)), "."])
    return [SPACE if part == " " else part for part in re.findall(pattern, text)]


def train_char_list(
    texts: Sequence[str], out_dir: str | Path, symbols: Sequence[str] = ()
) -> list[str]:
    """Write the character list of a corpus to ``<out_dir>/tokens.txt``.

    Returns:
        The token list.
    """
    counts = Counter(token for text in texts for token in split_chars(text, symbols))
    return write_token_list(Path(out_dir) / "tokens.txt", by_frequency(counts))


def train_word_list(texts: Sequence[str], out_dir: str | Path) -> list[str]:
    """Write the word list of a corpus to ``<out_dir>/tokens.txt``.

    Returns:
        The token list.
    """
    counts = Counter(word for text in texts for word in text.split())
    return write_token_list(Path(out_dir) / "tokens.txt", by_frequency(counts))


def train_bpe(
    texts: Sequence[str],
    out_dir: str | Path,
    nbpe: int = 500,
    mode: str = "unigram",
    character_coverage: float = 1.0,
    symbols: Sequence[str] = (),
) -> list[str]:
    """Train a sentencepiece model: ``<out_dir>/bpe.model`` and ``<out_dir>/tokens.txt``.

    Args:
        texts: Transcripts.
        out_dir: Folder to write.
        nbpe: Size of the token list, special tokens included, as ESPnet's ``--nbpe``.
        mode: ``unigram`` or ``bpe``.
        character_coverage: Fraction of characters that get a token.
        symbols: Strings that stay whole.

    Returns:
        The token list.

    Raises:
        DataError: If the corpus cannot give ``nbpe`` tokens; the possible size is named.
    """
    options = {
        "vocab_size": nbpe,
        "model_type": mode,
        "character_coverage": character_coverage,
        "user_defined_symbols": list(symbols),
        "max_sentence_length": 1 << 20,  # the default drops long transcripts without a word
        "num_threads": 4,  # a fixed number: sums, and so pieces, depend on it
        "minloglevel": 2,
    }
    try:
        model = _train_sentencepiece(texts, options)
    except (RuntimeError, OSError) as error:
        raise DataError(explain_sentencepiece(str(error), nbpe)) from error
    with atomic_path(Path(out_dir) / "bpe.model") as temporary:
        temporary.write_bytes(model)
    return write_token_list(Path(out_dir) / "tokens.txt", _plain_pieces(model))


def _train_sentencepiece(texts: Sequence[str], options: dict[str, Any]) -> bytes:
    """Train a model in a temporary folder and return its bytes."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "bpe"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_prefix=str(prefix), **options
        )
        return prefix.with_suffix(".model").read_bytes()


def _plain_pieces(model: bytes) -> list[str]:
    """List the pieces of a model without its special ones."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [
        processor.id_to_piece(i)
        for i in range(processor.vocab_size())
        if not processor.is_control(i) and not processor.is_unknown(i)
    ]


def explain_sentencepiece(message: str, nbpe: int) -> str:
    """Turn sentencepiece's message into advice."""
    largest = re.search(r"value <= (\d+)", message)
    if largest:
        return (
            f"nbpe {nbpe} is too large for this corpus; the largest possible is "
            f"--nbpe {largest.group(1)}"
        )
    smallest = re.search(r"required_chars\. (\d+) vs (\d+)", message)
    if smallest:
        return (
            f"nbpe {nbpe} is too small for this corpus; the smallest possible is "
            f"--nbpe {smallest.group(2)} (or lower --character_coverage)"
        )
    return f"sentencepiece cannot train {nbpe} tokens: {message}"


def make_tokenizer(
    token_type: str, bpemodel: str | Path | None = None, symbols: Sequence[str] = ()
) -> Callable[[str], list[str]]:
    """Return the function that splits a transcript into tokens.

    Raises:
        DataError: If the type is unknown, or a BPE model is needed and missing.
    """
    if token_type == "char":
        return lambda text: split_chars(text, symbols)
    if token_type == "word":
        return str.split
    if token_type != "bpe":
        raise DataError(f"token_type '{token_type}': use one of {', '.join(TOKEN_TYPES)}")
    import sentencepiece

    if bpemodel is None or not Path(bpemodel).is_file():
        raise DataError(f"bpemodel {bpemodel}: no such file; 'tokens --token_type bpe' writes it")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(bpemodel))
    except (RuntimeError, OSError) as error:
        raise DataError(f"bpemodel {bpemodel}: no sentencepiece model ({error})") from error
    return lambda text: processor.encode(text, out_type=str)


def find_unknown(
    text: dict[str, str], token_list: str | Path, tokenize: Callable[[str], list[str]]
) -> dict[str, list[str]]:
    """List the tokens that the token list does not hold (they are trained as ``<unk>``).

    Args:
        text: Transcripts by utterance.
        token_list: ``tokens.txt``.
        tokenize: See :func:`make_tokenizer`.

    Returns:
        Unknown tokens by utterance; utterances without any are left out.
    """
    known = set(read_lines(token_list))
    found = {key: [t for t in tokenize(words) if t not in known] for key, words in text.items()}
    return {key: tokens for key, tokens in found.items() if tokens}
