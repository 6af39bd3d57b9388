from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet2_supernet.data.datadir import DataDir, read_data_dir
from espnet2_supernet.data.sets import combine, fraction_of_speakers, subset
from espnet2_supernet.data.speed import perturb_data_dir
from espnet2_supernet.errors import DataError


def untold(prefix: str, number: int, speaker: str = "") -> DataDir:
    """Utterances without transcripts."""
    keys = [f"{prefix}{n:03d}" for n in range(number)]
    return DataDir({k: f"{k}.wav" for k in keys}, {}, dict.fromkeys(keys, speaker or prefix))


def test_combine_and_subset(make_set):
    one, two = read_data_dir(make_set("one")), read_data_dir(make_set("two"))
    with pytest.raises(DataError, match="two: utterance 'spk-000' is already in one"):
        combine([("one", one), ("two", two)])
    two.text = {"x" + key: value for key, value in two.text.items()}
    two.wav = {"x" + key: value for key, value in two.wav.items()}
    two.utt2spk = {"x" + key: value for key, value in two.utt2spk.items()}
    assert len(combine([("one", one), ("two", two)])) == 6
    assert list(subset(one, lambda i, key: i != 1).wav) == ["spk-000", "spk-002"]


def test_sets_with_and_without_transcripts_are_not_mixed(make_set):
    told, other = read_data_dir(make_set()), untold("a", 2)
    with pytest.raises(DataError, match="here: has no transcripts, but others"):
        combine([("there", told), ("here", other)])
    joined = combine([("there", untold("b", 3)), ("here", other)])
    assert len(joined) == 5 and joined.text == {}


def test_perturbed_sets_are_joined_with_others(make_set, tmp_path):
    folder = make_set()
    (folder / "text").unlink()
    fast = perturb_data_dir(folder, tmp_path / "sp", (0.9, 1.0, 1.1), audio_only=True)
    assert len(fast) == 9 and fast.text == {}
    assert len(combine([("sp", fast), ("other", untold("a", 2))])) == 11
    with pytest.raises(DataError, match="plain: utterance 'spk-000' is already in sp"):
        combine([("sp", fast), ("plain", read_data_dir(folder, audio_only=True))])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
    st.integers(0, 5),
)
def test_every_speaker_gives_its_share(sizes, fraction, seed):
    data = combine([(str(i), untold(f"s{i}-", size)) for i, size in enumerate(sizes)])
    part = fraction_of_speakers(data, fraction, seed)
    assert len(part) == max(round(fraction * len(data)), 1)
    taken = Counter(part.utt2spk.values())
    for i, size in enumerate(sizes):
        assert abs(taken[f"s{i}-"] - fraction * size) < 1 + 1e-6
    assert part == fraction_of_speakers(data, fraction, seed)


def test_the_draw_is_seeded_and_the_same_everywhere():
    data = combine([(name, untold(name, 10)) for name in "abcd"])
    part = fraction_of_speakers(data, 0.1)
    assert list(part.wav) == ["a009", "b002", "c008", "d000"]
    assert fraction_of_speakers(data, 0.1, seed=1) != part
    assert set(part.wav) < set(fraction_of_speakers(data, 0.3).wav)
    assert fraction_of_speakers(data, 1.0) == data
    for bad in (0.0, 1.5):
        with pytest.raises(DataError, match="above 0, at most 1"):
            fraction_of_speakers(data, bad)
