import pytest

from espnet2_supernet.data.tokens import (
    find_unknown,
    make_tokenizer,
    read_transcripts,
    train_bpe,
    train_char_list,
    train_word_list,
)
from espnet2_supernet.errors import DataError

TEXTS = [
    "THE CAT SAT ON THE MAT",
    "THE DOG SAT ON A LOG",
    "A CAT AND A DOG",
    "THE LONG MATTING",
    "CATTLE AND DOGS THAT SAT",
    "NO LOG THAT LONG",
    "HE ATE THE OATS",
    "SHE NODDED AT HAND",
]


def test_char_list_order(tmp_path):
    tokens = train_char_list(["AB BB", "<noise> A"], tmp_path, ["<noise>"])
    assert tokens == ["<blank>", "<unk>", "B", "<space>", "A", "<noise>", "<sos/eos>"]
    assert (tmp_path / "tokens.txt").read_text().split("\n")[:-1] == tokens


def test_word_list(tmp_path):
    assert train_word_list(["B A", "B"], tmp_path) == ["<blank>", "<unk>", "B", "A", "<sos/eos>"]


def test_bpe_size_order_and_reproducibility(tmp_path):
    tokens = train_bpe(TEXTS, tmp_path / "a", nbpe=25)
    assert len(tokens) == 25
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    assert not {"<s>", "</s>"} & set(tokens)
    assert train_bpe(TEXTS, tmp_path / "b", nbpe=25) == tokens
    tokenize = make_tokenizer("bpe", tmp_path / "a" / "bpe.model")
    assert set(tokenize("THE CAT")) <= set(tokens)


@pytest.mark.parametrize("mode", ["unigram", "bpe"])
def test_too_many_and_too_few_tokens(tmp_path, mode):
    for nbpe, message in ((5000, "largest possible is --nbpe"), (5, "smallest possible is --nbpe")):
        with pytest.raises(DataError, match=message) as caught:
            train_bpe(TEXTS, tmp_path, nbpe, mode)
        advised = int(str(caught.value).split("--nbpe ")[1].split()[0])
        assert len(train_bpe(TEXTS, tmp_path, advised, mode)) == advised


def test_user_symbols_stay_whole(tmp_path):
    train_bpe([text + " <noise>" for text in TEXTS], tmp_path, 30, symbols=["<noise>"])
    assert "<noise>" in make_tokenizer("bpe", tmp_path / "bpe.model")("A <noise> B")


def test_espnet_reads_what_we_write(tmp_path):
    """The same tokens as ESPnet's tokenizers give."""
    pytest.importorskip("espnet2")
    from espnet2.text.build_tokenizer import build_tokenizer

    train_bpe(TEXTS, tmp_path, 25)
    theirs = build_tokenizer("bpe", bpemodel=str(tmp_path / "bpe.model"))
    ours = make_tokenizer("bpe", tmp_path / "bpe.model")
    assert ours(TEXTS[0]) == theirs.text2tokens(TEXTS[0])
    assert make_tokenizer("char")("A B") == build_tokenizer("char").text2tokens("A B")


def test_read_transcripts(tmp_path):
    (tmp_path / "text").write_text("a X  Y\nb\nc Z\n")
    assert read_transcripts([tmp_path / "text"]) == ["X Y", "Z"]
    (tmp_path / "text").write_text("a\nb\n")
    with pytest.raises(DataError, match="no transcript has a word"):
        read_transcripts([tmp_path / "text"])


def test_unknown_symbols_are_found(tmp_path):
    train_char_list(["AB"], tmp_path)
    text = {"u1": "AB", "u2": "A?C", "u3": "A B"}
    found = find_unknown(text, tmp_path / "tokens.txt", make_tokenizer("char"))
    assert found == {"u2": ["?", "C"], "u3": ["<space>"]}


def test_bad_tokenizers(tmp_path):
    with pytest.raises(DataError, match="token_type 'phn'"):
        make_tokenizer("phn")
    with pytest.raises(DataError, match="no such file"):
        make_tokenizer("bpe")
    (tmp_path / "bpe.model").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no sentencepiece model"):
        make_tokenizer("bpe", tmp_path / "bpe.model")
