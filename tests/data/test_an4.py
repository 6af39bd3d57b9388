import numpy as np
import pytest

from espnet2_supernet.data.an4 import (
    find_an4_root,
    parse_transcription,
    prepare_an4,
    read_an4_split,
)
from espnet2_supernet.errors import DataError


@pytest.fixture
def small_an4(tmp_path, sphere):
    root = tmp_path / "an4"
    (root / "etc").mkdir(parents=True)
    lines, ids = [], []
    for speaker in ("fash", "mabc"):
        for take in ("an2", "an10", "cen1"):
            name = f"{take}-{speaker}-b"
            sphere(root / "wav" / "an4_clstk" / speaker / f"{name}.sph", np.arange(1600))
            lines.append(f"<s> YES {take.upper()} </s> ({name})")
            ids.append(f"an4_clstk/{speaker}/{name}")
    (root / "etc" / "an4_train.transcription").write_text("\n".join(lines) + "\n")
    (root / "etc" / "an4_train.fileids").write_text("\n".join(ids) + "\n")
    return root


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<s> YES </s> (an251-fash-b)\n", ("YES", "an251-fash-b")),
        ("RUBOUT G M E F THREE NINE (an406-fcaw-b)", ("RUBOUT G M E F THREE NINE", "an406-fcaw-b")),
        ("<s> </s> (an1-x-b)", ("", "an1-x-b")),
    ],
)
def test_parse_transcription(line, expected):
    assert parse_transcription(line, "f:1") == expected


@pytest.mark.parametrize("line", ["YES", "YES (an251fashb)", "YES (an251-fash-b"])
def test_parse_bad_transcription(line):
    with pytest.raises(DataError, match="f:1: expected"):
        parse_transcription(line, "f:1")


def test_ids_put_the_speaker_first(small_an4):
    data = read_an4_split(small_an4, "train")
    assert "fash-an10-b" in data.wav
    assert data.utt2spk["mabc-cen1-b"] == "mabc"
    assert data.wav["fash-an2-b"].endswith("an4_clstk/fash/an2-fash-b.sph")


def test_sizes_are_asserted_unless_partial(small_an4):
    with pytest.raises(DataError, match="0 utterances found, 848 expected.*--partial true"):
        prepare_an4(small_an4)
    assert len(prepare_an4(small_an4, partial=True)["train_dev"]) == 6


def test_missing_test_set(small_an4):
    with pytest.raises(DataError, match="no test set; use '--test false'"):
        prepare_an4(small_an4, test=True, partial=True)


def test_missing_audio(small_an4):
    (small_an4 / "wav" / "an4_clstk" / "fash" / "an2-fash-b.sph").unlink()
    with pytest.raises(DataError, match="an2-fash-b.sph: no such file"):
        read_an4_split(small_an4, "train")


def test_transcripts_and_fileids_differ(small_an4):
    path = small_an4 / "etc" / "an4_train.fileids"
    path.write_text(path.read_text() + "an4_clstk/fash/more-fash-b\n")
    with pytest.raises(DataError, match="disagrees.*more-fash-b"):
        read_an4_split(small_an4, "train")


def test_no_an4_here(tmp_path):
    with pytest.raises(DataError, match="no AN4 distribution"):
        find_an4_root(tmp_path, tmp_path)


def test_real_an4(shared_data, tmp_path):
    root = find_an4_root(shared_data / "an4_train.tar.gz", tmp_path)
    sets = prepare_an4(root)
    assert {name: len(data) for name, data in sets.items()} == {
        "train_nodev": 848,
        "train_dev": 100,
    }
    assert sets["train_dev"].num_words == 591
    assert max(sets["train_dev"].wav) < min(sets["train_nodev"].wav)
    assert sets["train_dev"].text["fash-an251-b"] == "YES"
