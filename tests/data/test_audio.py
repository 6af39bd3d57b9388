import numpy as np
import pytest
import soundfile

from espnet2_supernet.data.audio import AudioRules, read_audio, resample, write_audio
from espnet2_supernet.errors import DataError


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such audio file"),
        ("empty", "the file is empty"),
        ("text", "unreadable audio"),
        ("zero_length", "zero length"),
        ("rate", r"sampling rate 8000 Hz, 16000 expected; use '--resample true'"),
        ("stereo", r"2 channels, one expected; use '--channel mix'"),
        ("nan", "NaN or infinite"),
        ("long", r"130.0 s is longer than --max_duration 120"),
        ("truncated", "truncated, 8022 of 16044 bytes"),
        ("truncated_flac", "truncated|unreadable"),
        ("truncated_sphere", "truncated, 8512 of 17024 bytes"),
    ],
)
def test_bad_audio(bad_audio, kind, message):
    with pytest.raises(DataError, match=message) as caught:
        read_audio(bad_audio[kind], AudioRules())
    assert str(bad_audio[kind]) in str(caught.value)


def test_stereo_can_be_mixed_or_picked(bad_audio):
    first = read_audio(bad_audio["stereo"], AudioRules(channel="0"))
    second = read_audio(bad_audio["stereo"], AudioRules(channel="1"))
    mixed = read_audio(bad_audio["stereo"], AudioRules(channel="mix"))
    assert not first.unchanged
    np.testing.assert_allclose(second.samples, -0.5 * first.samples, atol=1e-4)
    np.testing.assert_allclose(mixed.samples, 0.25 * first.samples, atol=1e-4)
    with pytest.raises(DataError, match="no channel 2, the file has 2"):
        read_audio(bad_audio["stereo"], AudioRules(channel="2"))


def test_rate_can_be_changed(bad_audio):
    audio = read_audio(bad_audio["rate"], AudioRules(resample=True))
    assert (len(audio.samples), audio.fs, audio.unchanged) == (8000, 16000, False)


def test_any_rate_when_none_is_asked_for(bad_audio):
    assert read_audio(bad_audio["rate"], AudioRules(fs=None)).fs == 8000


@pytest.mark.parametrize("values", [{"fs": 0}, {"channel": "left"}, {"max_duration": 0}])
def test_bad_rules(values):
    with pytest.raises(DataError):
        AudioRules(**values)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bit_samples_survive(tmp_path, suffix):
    integers = np.random.default_rng(0).integers(-32768, 32768, 2000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", integers, 16000, subtype="PCM_16")
    audio = read_audio(tmp_path / "a.wav", AudioRules())
    write_audio(tmp_path / f"b.{suffix}", audio.samples, 16000)
    assert (soundfile.read(tmp_path / f"b.{suffix}", dtype="int16")[0] == integers).all()


def test_values_outside_are_clipped(tmp_path):
    write_audio(tmp_path / "a.wav", np.array([2.0, -2.0]), 16000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [32767, -32768]


def test_wav_header_of_a_pipe_is_no_truncation(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(1000, 0.5), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav", AudioRules()).samples) == 1000


@pytest.mark.parametrize(("fs_in", "fs_out"), [(22050, 16000), (8000, 16000), (48000, 16000)])
def test_resample_keeps_a_tone_and_removes_what_would_alias(fs_in, fs_out):
    time = np.arange(fs_in) / fs_in
    kept = resample(np.sin(2 * np.pi * 3000 * time).astype(np.float32), fs_in, fs_out)
    expected = np.sin(2 * np.pi * 3000 * np.arange(fs_out) / fs_out)
    middle = slice(fs_out // 10, -fs_out // 10)
    assert len(kept) == fs_out
    assert np.abs(kept - expected)[middle].max() < 1e-3
    if fs_in > fs_out:
        gone = resample(np.sin(2 * np.pi * 8500 * time).astype(np.float32), fs_in, fs_out)
        assert np.abs(gone)[middle].max() < 1e-3
