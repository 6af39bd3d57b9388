"""trn files: ids compared first, markup escaped, empty hypotheses kept."""

import pytest

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.report.trn import (
    MARKUP,
    check_ids,
    fold_case,
    read_key_file,
    tokenize,
    trn_id,
    trn_ids,
    write_trn,
)


def test_words_and_characters_as_espnet_counts_them():
    assert tokenize("  ONE  two ", "wer") == ["ONE", "two"]
    assert tokenize("ab  c", "cer") == ["a", "b", "<space>", "c"]
    assert tokenize("", "wer") == tokenize(" ", "cer") == []


def test_unknown_token_type_is_refused():
    with pytest.raises(ConfigError, match="ter"):
        tokenize("a", "ter")


@pytest.mark.parametrize("token_type", ["wer", "cer"])
def test_markup_is_escaped_one_to_one(token_type):
    for character, name in MARKUP.items():
        assert tokenize(character, token_type) == [name]
    assert tokenize("g{x", "wer") == ["g<lbrace>x"]
    assert len({tuple(tokenize(f"a{c}b", token_type)) for c in MARKUP}) == len(MARKUP)


def test_text_with_the_name_of_an_escape_is_refused_for_words_only():
    with pytest.raises(DataError, match="<LPAREN>"):
        tokenize("x<LPAREN>", "wer")
    assert tokenize("<at>", "cer") == list("<at>")


def test_empty_hypothesis_is_a_line_of_its_id(tmp_path):
    names = trn_ids({"u2": "s", "u1": "s"})
    write_trn(tmp_path / "hyp.trn", {"u2": [], "u1": ["a", "b"]}, names)
    assert (tmp_path / "hyp.trn").read_text() == "a b (s-u1)\n(s-u2)\n"


def test_key_file_keeps_order_and_empty_values(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("b\u00e9 x  y \r\n\na\n".encode())
    assert read_key_file(path) == {"b\u00e9": "x  y", "a": ""}


def test_duplicate_ids_are_listed(tmp_path):
    (tmp_path / "text").write_text("a 1\nb 2\na 3\n")
    with pytest.raises(DataError, match="duplicate ids: a;"):
        read_key_file(tmp_path / "text")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "no utterance"), (b"\n \n", "no utterance"),
     (b"a \xff\n", "not UTF-8 at byte 2")],
)  # fmt: skip
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_key_file(path)
    assert str(path) in str(error.value)


def test_missing_and_extra_ids_are_listed():
    check_ids(["a", "b"], ["b", "a"], "ref", "hyp")
    with pytest.raises(DataError, match=r"hyp: .*1 missing: a; 2 extra: c, d;"):
        check_ids(["a", "b"], ["b", "c", "d"], "ref", "hyp")


def test_a_long_list_of_ids_is_cut():
    with pytest.raises(DataError, match="15 missing: .* and 5 more"):
        check_ids([f"u{i:02d}" for i in range(15)], [], "ref", "hyp")


@pytest.mark.parametrize("utterance", ["a(b", "a)", "a\u00a0b"])
def test_ids_that_break_a_trn_line_are_refused(utterance):
    with pytest.raises(DataError, match="rename"):
        trn_id(utterance, "s")


def test_ids_equal_without_case_are_refused():
    with pytest.raises(DataError, match="'u1' and 'U1' are one"):
        trn_ids({"u1": "s", "U1": "s"})


def test_utterance_without_speaker_is_refused():
    with pytest.raises(DataError, match="'u1' has no speaker"):
        trn_ids({"u1": ""})


def test_only_ascii_is_folded():
    assert fold_case("ABc\u00c9") == "abc\u00c9"
