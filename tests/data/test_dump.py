import pytest
import soundfile

from espnet2_supernet.data import dump
from espnet2_supernet.data.audio import AudioRules
from espnet2_supernet.data.datadir import read_data_dir
from espnet2_supernet.data.dump import FormatOptions, format_data_dir, safe_name
from espnet2_supernet.errors import DataError


def add_audio(folder, key, path):
    for name, value in (("wav.scp", path), ("text", "HELLO"), ("utt2spk", "spk")):
        with open(folder / name, "a") as stream:
            stream.write(f"{key} {value}\n")


def test_good_wav_stays_in_place(make_set, tmp_path):
    folder, out = make_set(), tmp_path / "dump"
    format_data_dir(folder, out, FormatOptions())
    dumped = read_data_dir(out)
    assert dumped.wav == read_data_dir(folder).wav
    assert dumped.utt2num_samples == {"spk-000": 3200, "spk-001": 4800, "spk-002": 6400}
    assert (out / "feats_type").read_text() == "raw\n"
    assert (out / "audio_format").read_text() == "wav\n"
    assert (out / "skipped.tsv").read_text() == ""
    assert not (out / "audio").exists()


def test_flac_on_request(make_set, tmp_path):
    out = tmp_path / "dump"
    format_data_dir(make_set(), out, FormatOptions(audio_format="flac", nj=2))
    path = read_data_dir(out).wav["spk-001"]
    assert path == str(out / "audio" / "spk-001.flac")
    assert soundfile.info(path).frames == 4800
    assert (out / "audio_format").read_text() == "flac\n"


def test_audio_only_needs_no_text(make_set, tmp_path):
    folder, out = make_set(), tmp_path / "dump"
    (folder / "text").unlink()
    with pytest.raises(DataError, match="text: no such file"):
        format_data_dir(folder, out, FormatOptions())
    assert len(format_data_dir(folder, out, FormatOptions(audio_only=True))) == 3
    assert not (out / "text").exists() and (out / "utt2num_samples").exists()


def test_sphere_is_rewritten(make_set, tmp_path, sphere):
    import numpy as np

    folder, out = make_set(number=1), tmp_path / "dump"
    sphere(tmp_path / "x.sph", np.arange(-800, 800))
    add_audio(folder, "sph-1", tmp_path / "x.sph")
    format_data_dir(folder, out, FormatOptions())
    samples, _ = soundfile.read(read_data_dir(out).wav["sph-1"], dtype="int16")
    assert (samples == np.arange(-800, 800)).all()


def test_every_bad_utterance_is_listed_and_the_good_ones_stay(make_set, tmp_path, bad_audio):
    folder, out = make_set(), tmp_path / "dump"
    for name, path in bad_audio.items():
        add_audio(folder, f"bad-{name}", path)
    format_data_dir(folder, out, FormatOptions(max_skipped=0.9))
    listed = dict(line.split("\t") for line in (out / "skipped.tsv").read_text().splitlines())
    assert set(listed) == {f"bad-{name}" for name in bad_audio}
    assert "sampling rate 8000" in listed["bad-rate"]
    assert list(read_data_dir(out).wav) == ["spk-000", "spk-001", "spk-002"]


def test_too_many_bad_utterances_are_an_error(make_set, tmp_path, bad_audio):
    folder, out = make_set(), tmp_path / "dump"
    add_audio(folder, "bad", bad_audio["nan"])
    with pytest.raises(DataError, match=r"1 of 4 utterances are bad.*first: bad: .*NaN"):
        format_data_dir(folder, out, FormatOptions())
    assert (out / "skipped.tsv").read_text().startswith("bad\t")
    assert not (out / "wav.scp").exists()


def test_commands_are_refused(make_set, tmp_path):
    folder = make_set()
    add_audio(folder, "pipe", "sox x.wav -t wav - |")
    with pytest.raises(DataError, match=r"utterance 'pipe' is a command"):
        format_data_dir(folder, tmp_path / "dump", FormatOptions())


def test_mended_audio(make_set, tmp_path, bad_audio):
    folder, out = make_set(), tmp_path / "dump"
    add_audio(folder, "x-rate", bad_audio["rate"])
    add_audio(folder, "x-stereo", bad_audio["stereo"])
    format_data_dir(folder, out, FormatOptions(AudioRules(resample=True, channel="mix")))
    dumped = read_data_dir(out)
    assert dumped.utt2num_samples["x-rate"] == dumped.utt2num_samples["x-stereo"] == 8000
    for key in ("x-rate", "x-stereo"):
        info = soundfile.info(dumped.wav[key])
        assert (info.samplerate, info.channels) == (16000, 1)


def test_killed_run_goes_on_where_it_stopped(make_set, tmp_path, monkeypatch):
    folder, out = make_set(number=6), tmp_path / "dump"
    options = FormatOptions(audio_format="flac")
    write, written = dump.write_audio, []

    def dying(path, samples, fs):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        write(path, samples, fs)

    monkeypatch.setattr(dump, "write_audio", dying)
    with pytest.raises(KeyboardInterrupt):
        format_data_dir(folder, out, options)
    with open(out / "format.journal", "a") as stream:
        stream.write('{"utterance": "spk-0')  # a line that the kill cut
    monkeypatch.setattr(dump, "write_audio", lambda p, s, f: (written.append(p), write(p, s, f)))
    format_data_dir(folder, out, options)
    assert len(written) == len(set(written)) == 6
    format_data_dir(folder, out, options)
    assert len(written) == 6
    assert len(read_data_dir(out)) == 6


def test_changed_source_or_settings_are_done_anew(make_set, tmp_path):
    folder, out = make_set(), tmp_path / "dump"
    format_data_dir(folder, out, FormatOptions(audio_format="flac"))
    soundfile.write(folder / "wav" / "spk-000.wav", [0.5] * 999, 16000)
    dumped = format_data_dir(folder, out, FormatOptions(audio_format="flac"))
    assert dumped.utt2num_samples["spk-000"] == 999
    dumped = format_data_dir(folder, out, FormatOptions(AudioRules(fs=8000, resample=True)))
    assert dumped.utt2num_samples["spk-000"] == 500


def test_a_mended_file_is_looked_at_again(make_set, tmp_path, bad_audio):
    folder, out = make_set(), tmp_path / "dump"
    add_audio(folder, "x", bad_audio["missing"])
    with pytest.raises(DataError):
        format_data_dir(folder, out, FormatOptions())
    soundfile.write(bad_audio["missing"], [0.1] * 100, 16000)
    assert len(format_data_dir(folder, out, FormatOptions())) == 4


def test_full_disk_loses_nothing(make_set, tmp_path, monkeypatch):
    folder, out = make_set(), tmp_path / "dump"

    def full(*_args, **_kwargs):
        raise soundfile.LibsndfileError(2, "no space left: ")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(OSError, match="spk-000.flac: cannot be written"):
        format_data_dir(folder, out, FormatOptions(audio_format="flac"))
    assert list((out / "audio").iterdir()) == []


def test_same_directory_and_bad_options(make_set):
    folder = make_set()
    with pytest.raises(DataError, match="same directory"):
        format_data_dir(folder, folder, FormatOptions())
    with pytest.raises(DataError, match="audio_format 'mp3'"):
        FormatOptions(audio_format="mp3")
    with pytest.raises(DataError, match="no fraction"):
        FormatOptions(max_skipped=2)


def test_file_names_of_odd_ids():
    assert safe_name("a/b%") == "a%2Fb%25"
    with pytest.raises(DataError, match="file name"):
        safe_name("x" * 300)
