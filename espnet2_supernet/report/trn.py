"""Reference and hypothesis files in NIST ``trn`` form, from ESPnet's ``text`` and ``utt2spk``.

A ``trn`` line is ``tokens (speaker-utterance)``. The ids of the two sides are compared before
anything is written: sclite may drop an utterance that misses its hypothesis and give the rate
over the rest. Characters that sclite reads as markup are written as names in angle brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.files import read_text_file, write_atomic

TOKEN_TYPES = ("wer", "cer")
SPACE = "<space>"
# Seen with sclite 2.10: `{ a / b }` alternation (an unbalanced brace crashes it), `(a)` optional,
# `@` the empty word, `;` cuts the word, `\` vanishes, `**` at the start of a line a comment.
MARKUP = {
    "{": "<lbrace>",
    "}": "<rbrace>",
    "(": "<lparen>",
    ")": "<rparen>",
    "@": "<at>",
    ";": "<semicolon>",
    "\\": "<backslash>",
    "*": "<asterisk>",
}
_ESCAPES = str.maketrans(MARKUP)
_MAX_LISTED = 10


def read_key_file(path: Path) -> dict[str, str]:
    """Read a file of lines ``id value``; the value may be empty.

    Args:
        path: ``text`` or ``utt2spk``.

    Returns:
        ``{id: value}`` in file order.

    Raises:
        DataError: If the file cannot be read, is empty, or holds an id twice.
    """
    table: dict[str, str] = {}
    duplicates: list[str] = []
    for line in read_text_file(path).split("\n"):
        fields = line.split(maxsplit=1)
        if not fields:
            continue
        if fields[0] in table:
            duplicates.append(fields[0])
        table[fields[0]] = fields[1].strip() if len(fields) == 2 else ""
    if duplicates:
        raise DataError(f"{path}: duplicate ids: {_listed(duplicates)}; keep one line of each")
    if not table:
        raise DataError(f"{path}: no utterance in this file")
    return table


def check_ids(
    reference: Iterable[str], other: Iterable[str], reference_name: str, other_name: str
) -> None:
    """Demand that two files hold the same ids.

    Args:
        reference: Ids of the reference.
        other: Ids of the hypothesis or of ``utt2spk``.
        reference_name: Name of the first file, for the message.
        other_name: Name of the second file, for the message.

    Raises:
        DataError: If ids are missing from or extra in ``other``; they are listed.
    """
    expected, found = set(reference), set(other)
    parts = []
    if missing := expected - found:
        parts.append(f"{len(missing)} missing: {_listed(sorted(missing))}")
    if extra := found - expected:
        parts.append(f"{len(extra)} extra: {_listed(sorted(extra))}")
    if parts:
        raise DataError(
            f"{other_name}: ids differ from {reference_name}: {'; '.join(parts)}; "
            "make both files for the same utterances"
        )


def tokenize(text: str, token_type: str) -> list[str]:
    """Split a transcript into the tokens that are scored.

    Args:
        text: Words separated by white space.
        token_type: ``wer`` (words) or ``cer`` (characters; ``<space>`` between two words, as
            ESPnet counts them).

    Returns:
        The tokens, with sclite's markup characters escaped.

    Raises:
        ConfigError: If the token type is unknown.
        DataError: If a word contains the name of an escape, e.g. ``<lparen>``.
    """
    words = text.split()
    if token_type == "wer":
        return [_escape(word) for word in words]
    if token_type == "cer":
        return [_escape(character) if character != " " else SPACE for character in " ".join(words)]
    raise ConfigError(f"token type '{token_type}' is unknown; use one of {', '.join(TOKEN_TYPES)}")


def trn_id(utterance: str, speaker: str) -> str:
    """Return ``speaker-utterance``, the id of a ``trn`` line.

    Args:
        utterance: Utterance id.
        speaker: Its speaker.

    Returns:
        The id without parentheses.

    Raises:
        DataError: If it holds white space or a parenthesis, which end an id.
    """
    name = f"{speaker}-{utterance}"
    if any(character.isspace() or character in "()" for character in name):
        raise DataError(f"id '{name}': white space and parentheses cannot be used; rename it")
    return name


def trn_ids(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Name every utterance as ``speaker-utterance``.

    Args:
        utt2spk: ``{utterance: speaker}``.

    Returns:
        ``{utterance: trn id}``.

    Raises:
        DataError: If a speaker is missing or two ids differ in case only: sclite ignores case.
    """
    names: dict[str, str] = {}
    folded: dict[str, str] = {}
    for utterance, speaker in utt2spk.items():
        if not speaker:
            raise DataError(f"utterance '{utterance}' has no speaker in utt2spk; add it")
        names[utterance] = trn_id(utterance, speaker)
        twin = folded.setdefault(fold_case(names[utterance]), utterance)
        if twin != utterance:
            raise DataError(f"ids '{twin}' and '{utterance}' are one to sclite; rename one")
    return names


def write_trn(path: Path, tokens: Mapping[str, list[str]], names: Mapping[str, str]) -> None:
    """Write a ``trn`` file; an empty transcript becomes a line of the id alone.

    Args:
        path: The file to write.
        tokens: ``{utterance: tokens}``.
        names: ``{utterance: trn id}`` of :func:`trn_ids`.

    Raises:
        DataError: If the file cannot be written.
    """
    lines = [" ".join([*tokens[key], f"({names[key]})"]) + "\n" for key in sorted(tokens)]
    write_atomic(path, "".join(lines))


def fold_case(text: str) -> str:
    """Lower the ASCII letters only, as sclite compares without ``-s`` and ``-e``.

    Args:
        text: A token or an id.

    Returns:
        The folded text.
    """
    return text.encode("utf-8").lower().decode("utf-8")


def _escape(token: str) -> str:
    for name in MARKUP.values():
        if name in fold_case(token):
            raise DataError(
                f"token '{token}' contains '{name}', which stands for a character of sclite's "
                "markup in scoring; remove it from the text"
            )
    return token.translate(_ESCAPES)


def _listed(ids: list[str]) -> str:
    shown = ", ".join(ids[:_MAX_LISTED])
    return shown + (f" and {len(ids) - _MAX_LISTED} more" if len(ids) > _MAX_LISTED else "")
