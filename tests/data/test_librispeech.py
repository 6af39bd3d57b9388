import pytest
import soundfile

from espnet2_supernet.data.librispeech import (
    KNOWN_SIZES,
    find_subset,
    prepare_librispeech,
    split_readers,
)
from espnet2_supernet.errors import DataError


@pytest.fixture
def corpus(tmp_path):
    """Two subsets, `mine` with 4 readers."""
    root = tmp_path / "LibriSpeech"
    for subset, readers in (("mine", ("10", "9", "77", "8")), ("dev-clean", ("5",))):
        for reader in readers:
            folder = root / subset / reader / "123"
            folder.mkdir(parents=True)
            keys = [f"{reader}-123-{i:04d}" for i in range(2)]
            for key in keys:
                soundfile.write(folder / f"{key}.flac", [0.0] * 160, 16000)
            (folder / f"{reader}-123.trans.txt").write_text(
                "".join(f"{key} HELLO\n" for key in keys)
            )
    return tmp_path


def test_speaker_is_reader_and_chapter(corpus):
    data = prepare_librispeech(corpus, ["mine"])
    assert len(data) == 8
    assert data.utt2spk["77-123-0001"] == "77-123"
    assert data.wav["77-123-0001"].startswith("/")


def test_corpus_may_be_the_inner_folder(corpus):
    assert len(prepare_librispeech(corpus / "LibriSpeech", ["mine"])) == 8


def test_published_sizes(corpus):
    with pytest.raises(DataError, match="dev-clean: 2 utterances found, 2703 expected.*partial"):
        prepare_librispeech(corpus, ["dev-clean"])
    assert len(prepare_librispeech(corpus, ["mine", "dev-clean"], partial=True)) == 10
    assert KNOWN_SIZES["test-other"].words == 52343


def test_unknown_subset_names_those_there(corpus):
    with pytest.raises(DataError, match="no subset 'train-clean-100'.*dev-clean, mine"):
        find_subset(corpus, "train-clean-100")
    with pytest.raises(DataError, match="missing or empty"):
        find_subset(corpus / "nowhere", "train-clean-100")


def chapter(corpus):
    return corpus / "LibriSpeech" / "mine" / "9" / "123"


def test_missing_flac(corpus):
    (chapter(corpus) / "9-123-0001.flac").unlink()
    with pytest.raises(DataError, match="utterance '9-123-0001' has no .flac"):
        prepare_librispeech(corpus, ["mine"])


def test_missing_transcripts(corpus):
    (chapter(corpus) / "9-123.trans.txt").unlink()
    with pytest.raises(DataError, match="9-123.trans.txt: no such file"):
        prepare_librispeech(corpus, ["mine"])


def test_audio_without_words(corpus):
    (chapter(corpus) / "9-123.trans.txt").write_text("9-123-0000 HELLO\n")
    with pytest.raises(DataError, match="9-123-0001.flac: not in 9-123.trans.txt"):
        prepare_librispeech(corpus, ["mine"])


def test_audio_only_needs_no_transcripts(corpus):
    with_words = prepare_librispeech(corpus, ["mine"])
    (chapter(corpus) / "9-123.trans.txt").unlink()
    data = prepare_librispeech(corpus, ["mine"], audio_only=True)
    assert (data.wav, data.utt2spk) == (with_words.wav, with_words.utt2spk) and data.text == {}
    (chapter(corpus) / "9-123-0000.flac").rename(chapter(corpus) / "8-123-0000.flac")
    with pytest.raises(DataError, match=r"8-123-0000.flac: expected a name 9-123-<number>.flac"):
        prepare_librispeech(corpus, ["mine"], audio_only=True)


def test_empty_subset(corpus):
    (corpus / "LibriSpeech" / "void").mkdir()
    with pytest.raises(DataError, match="no utterance in LibriSpeech layout"):
        prepare_librispeech(corpus, ["void"])


def test_hold_out_by_reader(corpus):
    data = prepare_librispeech(corpus, ["mine"])
    rest, held = split_readers(data, 1, seed=3)
    assert (len(rest), len(held)) == (6, 2)
    assert not {k.split("-")[0] for k in rest.wav} & {k.split("-")[0] for k in held.wav}
    assert split_readers(data, 1, seed=3)[1].wav == held.wav
    assert len({min(split_readers(data, 1, seed=s)[1].wav) for s in range(20)}) > 1
    for number in (0, 4):
        with pytest.raises(DataError, match="cannot hold out"):
            split_readers(data, number)


def test_real_excerpt(shared_data):
    data = prepare_librispeech(shared_data / "librispeech_excerpt", ["train-clean-100"], True)
    assert len(data) == 615
    rest, held = split_readers(data, 20)
    assert len(rest) + len(held) == 615
    with pytest.raises(DataError, match="615 utterances found, 28539 expected"):
        prepare_librispeech(shared_data / "librispeech_excerpt", ["train-clean-100"])
