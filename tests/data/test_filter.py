import pytest

from espnet2_supernet.data.datadir import read_data_dir, write_table
from espnet2_supernet.data.dump import FormatOptions, format_data_dir
from espnet2_supernet.data.filter import filter_data_dir
from espnet2_supernet.errors import DataError


@pytest.fixture
def dumped(make_set, tmp_path):
    folder = make_set(number=5)
    (folder / "text").write_text("spk-000 A\nspk-001\nspk-002 B\nspk-003 C\nspk-004 D\n")
    format_data_dir(folder, tmp_path / "org", FormatOptions())
    return tmp_path / "org"


def test_short_long_and_empty_are_dropped_and_listed(dumped, tmp_path):
    out = tmp_path / "dump"
    reasons = filter_data_dir(dumped, out, min_duration=0.2, max_duration=0.6)
    assert set(reasons) == {"spk-000", "spk-001", "spk-004"}
    assert "no words" in reasons["spk-001"]
    assert (out / "filtered.tsv").read_text().count("\n") == 3
    kept = read_data_dir(out)
    assert list(kept.wav) == list(kept.utt2num_samples) == ["spk-002", "spk-003"]
    assert (out / "feats_type").read_text() == "raw\n"


def test_of_audio_only_the_length_decides(dumped, tmp_path):
    (dumped / "text").write_text("nobody reads this\n")
    out = tmp_path / "dump"
    reasons = filter_data_dir(dumped, out, min_duration=0.2, max_duration=0.6, audio_only=True)
    assert set(reasons) == {"spk-000", "spk-004"}
    assert list(read_data_dir(out, audio_only=True).wav) == ["spk-001", "spk-002", "spk-003"]
    assert not (out / "text").exists()


def test_nothing_left(dumped, tmp_path):
    with pytest.raises(DataError, match="every utterance would be dropped"):
        filter_data_dir(dumped, tmp_path / "dump", min_duration=5)


def test_bad_arguments(dumped, make_set, tmp_path):
    with pytest.raises(DataError, match="run 'format' first"):
        filter_data_dir(make_set("raw"), tmp_path / "dump")
    with pytest.raises(DataError, match="same directory"):
        filter_data_dir(dumped, dumped)
    with pytest.raises(DataError, match="do not fit"):
        filter_data_dir(dumped, tmp_path / "dump", min_duration=3, max_duration=2)


def test_lengths_of_other_utterances(dumped, tmp_path):
    write_table(dumped / "utt2num_samples", {"spk-000": 5})
    with pytest.raises(DataError, match="utt2num_samples: 4 utterance"):
        filter_data_dir(dumped, tmp_path / "dump")
