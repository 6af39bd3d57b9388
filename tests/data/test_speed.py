import numpy as np
import pytest
import soundfile

from espnet2_supernet.data.datadir import read_data_dir
from espnet2_supernet.data.speed import change_speed, perturb_data_dir
from espnet2_supernet.errors import DataError


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_length_and_pitch_change(factor):
    tone = np.sin(2 * np.pi * 400.0 * np.arange(16000) / 16000).astype(np.float32)
    changed = change_speed(tone, factor)
    assert len(changed) == int(np.ceil(16000 / factor - 1e-9))
    peak = np.argmax(np.abs(np.fft.rfft(changed[:14000]))) * 16000 / 14000
    assert abs(peak - 400.0 * factor) < 2.0


def test_three_way(make_set, tmp_path):
    out = tmp_path / "sp"
    perturb_data_dir(make_set(), out, nj=2)
    data = read_data_dir(out)
    assert len(data) == 9
    assert data.utt2spk["sp0.9-spk-000"] == "sp0.9-spk"
    assert data.text["sp1.1-spk-001"] == data.text["spk-001"]
    assert soundfile.info(data.wav["sp0.9-spk-000"]).frames == 3556
    assert data.wav["sp1.1-spk-000"] == str(out / "audio" / "sp1.1-spk-000.flac")


def test_rerun_makes_nothing_anew(make_set, tmp_path):
    folder, out = make_set(), tmp_path / "sp"
    data = perturb_data_dir(folder, out, [1.1])
    times = {key: (tmp_path / path).stat().st_mtime_ns for key, path in data.wav.items()}
    data = perturb_data_dir(folder, out, [1.1])
    assert times == {key: (tmp_path / path).stat().st_mtime_ns for key, path in data.wav.items()}


def test_bad_audio(make_set, tmp_path):
    folder = make_set()
    (folder / "wav" / "spk-001.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 copies cannot be made; first: sp0.9-spk-001"):
        perturb_data_dir(folder, tmp_path / "sp")


def test_bad_factors(make_set, tmp_path):
    folder = make_set()
    for factors, message in (([0.1], "not between"), ([1.1, 1.1], "once"), ([], "once")):
        with pytest.raises(DataError, match=message):
            perturb_data_dir(folder, tmp_path / "sp", factors)
    with pytest.raises(DataError, match="same directory"):
        perturb_data_dir(folder, folder)
