import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet2_supernet.data.datadir import (
    DataDir,
    invert_utt2spk,
    read_data_dir,
    read_table,
    sorted_keys,
    write_data_dir,
)
from espnet2_supernet.errors import DataError

KEYS = st.text(string.ascii_letters + string.digits + "-_.é", min_size=1, max_size=8)
WORDS = st.lists(st.text(string.ascii_uppercase + "'é", min_size=1, max_size=5), max_size=4)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(KEYS, st.tuples(KEYS, WORDS), min_size=1, max_size=6))
def test_round_trip(tmp_path, table):
    data = DataDir(
        {key: f"/some/where/{key}.wav" for key in table},
        {key: " ".join(words) for key, (_, words) in table.items()},
        {key: speaker for key, (speaker, _) in table.items()},
        {key: len(key) for key in table},
    )
    folder = tmp_path / "x"
    write_data_dir(folder, data)
    assert read_data_dir(folder) == data
    for name in ("wav.scp", "text", "utt2spk", "spk2utt"):
        lines = (folder / name).read_bytes().splitlines()
        assert lines == sorted(lines, key=lambda line: line.split(b" ")[0])


def test_sorted_as_lc_all_c():
    assert sorted_keys(["a", "B", "a-1", "a1", "é"]) == ["B", "a", "a-1", "a1", "é"]


def test_spk2utt():
    assert invert_utt2spk({"b2": "B", "a1": "A", "b1": "B"}) == {"A": "a1", "B": "b1 b2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a x\na y\n", r"text:2: duplicate utterance id 'a'"),
        ("a x\n\nb y\n", r"text:2: empty line"),
        ("a x\nb\n", r"text:2: utterance 'b' has no value"),
    ],
)
def test_bad_lines_name_file_line_and_utterance(tmp_path, content, message):
    (tmp_path / "text").write_text(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "text")


def test_ids_that_differ(make_set):
    folder = make_set()
    (folder / "text").write_text("spk-000 A\nspk-001 B\nother C\n")
    with pytest.raises(DataError, match=r"text: 1 utterance\(s\) of .*wav.scp.*spk-002"):
        read_data_dir(folder)


@pytest.mark.parametrize("name", ["wav.scp", "text"])
def test_missing_table(make_set, name):
    folder = make_set()
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        read_data_dir(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no such data directory"):
        read_data_dir(tmp_path / "nowhere")


def test_words_may_be_refused_or_accepted_when_absent(make_set):
    folder = make_set()
    (folder / "text").write_text("spk-000 A\nspk-001\nspk-002 B\n")
    assert read_data_dir(folder).text["spk-001"] == ""
    with pytest.raises(DataError, match="text:2: utterance 'spk-001' has no value"):
        read_data_dir(folder, allow_empty_text=False)


def test_wrong_spk2utt(make_set):
    folder = make_set()
    (folder / "spk2utt").write_text("spk spk-000\n")
    with pytest.raises(DataError, match="spk2utt: does not agree"):
        read_data_dir(folder)


def test_speakers_default_to_utterances(make_set):
    folder = make_set()
    (folder / "utt2spk").unlink()
    assert read_data_dir(folder).utt2spk["spk-001"] == "spk-001"


def test_bad_lengths(make_set):
    folder = make_set()
    (folder / "utt2num_samples").write_text("spk-000 5\nspk-001 -1\nspk-002 1\n")
    with pytest.raises(DataError, match="'spk-001' has length '-1'"):
        read_data_dir(folder)


def test_nothing_to_write(tmp_path):
    with pytest.raises(DataError, match="no utterance is left"):
        write_data_dir(tmp_path / "x", DataDir())
    with pytest.raises(DataError, match="holds a blank"):
        write_data_dir(tmp_path / "x", DataDir({"a b": "x"}, {"a b": "x"}, {"a b": "x"}))


def test_audio_only_leaves_transcripts_alone(make_set, tmp_path):
    folder = make_set()
    (folder / "text").write_text("other A\n")
    with pytest.raises(DataError, match="both files must hold the same ids"):
        read_data_dir(folder)
    data = read_data_dir(folder, audio_only=True)
    assert data.text == {} and data.num_words == 0 and len(data) == 3
    (folder / "text").unlink()
    (folder / "utt2spk").unlink()
    assert len(read_data_dir(folder, audio_only=True)) == 3
    out = tmp_path / "out"
    write_data_dir(out, read_data_dir(make_set("told")))
    write_data_dir(out, data.select(["spk-001"]))
    assert not (out / "text").exists(), "that of an earlier run"
    assert read_data_dir(out, audio_only=True) == data.select(["spk-001"])
