"""``supernet-stream``: files, standard input, microphone, and what can be wrong with them."""

import io
import sys
import types

import numpy as np
import pytest
import soundfile

from espnet2_supernet.bin import bundle as bundle_command
from espnet2_supernet.bin import stream
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError
from espnet2_supernet.runtime.recognizer import Recognizer


@pytest.fixture(scope="module")
def folder(trained, tiny_corpus, tmp_path_factory):
    """A bundle of the trained tiny model."""
    out = tmp_path_factory.mktemp("stream") / "bundle"
    bundle_command.main(
        ["--asr_model_file", str(trained / "valid.loss.ave.pth"), "--subnet", "device",
         "--output_dir", str(out), "--wav_scp", str(tiny_corpus.root / "valid/wav.scp")]
    )  # fmt: skip
    return out


@pytest.fixture
def wave(speech):
    """A second of noise, as 16-bit samples would give it."""
    return (np.rint(speech(1.0) * 32767 / 4) / 32768).astype(np.float32)


def write(path, wave, fs=16000, **options):
    soundfile.write(path, wave, fs, **options)
    return str(path)


def pipe(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


def test_files_and_standard_input_agree(folder, wave, tmp_path, capsys, monkeypatch):
    text = Recognizer.load(folder)(wave).text
    files = [write(tmp_path / name, wave) for name in ("a.wav", "b.flac")]
    pipe(monkeypatch, np.rint(wave * 32768).astype("<i2").tobytes())
    stream.main([str(folder), *files, "-", "--no_partial"])
    printed = capsys.readouterr()
    assert printed.out == f"a {text}\nb {text}\nstdin {text}\n"


@pytest.mark.parametrize("options", [[], ["--use", "ctc", "--search", "beam", "--beam_size", "4"]])
def test_partial_results_are_printed(folder, wave, tmp_path, capsys, options):
    stream.main([str(folder), write(tmp_path / "a.wav", wave), "--piece_ms", "40", *options])
    printed = capsys.readouterr()
    growing = [line for line in printed.err.splitlines() if "compiling" not in line]
    final = printed.out.removeprefix("a ").rstrip("\n")
    assert len(growing) == len(set(growing)) or options
    assert not final or growing


def test_pieces_of_one_sample(folder, wave, tmp_path, capsys):
    path = write(tmp_path / "a.wav", wave[:3000])
    stream.main([str(folder), path, "--piece_ms", "0.0625", "--no_partial"])
    assert capsys.readouterr().out == f"a {Recognizer.load(folder)(wave[:3000]).text}\n"


def test_no_audio_gives_no_text(folder, tmp_path, capsys, monkeypatch):
    pipe(monkeypatch, b"")
    path = write(tmp_path / "a.wav", np.zeros(0, np.float32))
    stream.main([str(folder), path, "-"])
    assert capsys.readouterr().out == "a \nstdin \n"


def test_bad_sounds_are_named(folder, wave, tmp_path, monkeypatch):
    bad = wave.copy()
    bad[500] = np.nan
    cut = tmp_path / "cut.wav"
    cut.write_bytes(open(write(tmp_path / "whole.wav", wave), "rb").read()[:2000])
    (tmp_path / "text.wav").write_text("no sound")
    for path, message in (
        (write(tmp_path / "8k.wav", wave, 8000), "sampling rate 8000 Hz, the model wants 16000"),
        (write(tmp_path / "nan.wav", bad, subtype="FLOAT"), "nan.*holds NaN"),
        (write(tmp_path / "stereo.wav", np.stack([wave, wave], 1)), "2 channels, one expected"),
        (str(tmp_path / "nowhere.wav"), "no such audio file"),
        (str(cut), "truncated"),
        (str(tmp_path / "text.wav"), "unreadable audio"),
    ):
        with pytest.raises(DataError, match=message):
            stream.main([str(folder), path])
    pipe(monkeypatch, b"\0\0\0")
    with pytest.raises(DataError, match="ends within a sample"):
        stream.main([str(folder), "-"])


def test_bad_options_are_named(folder, tmp_path):
    for options, error, message in (
        ([str(folder)], ConfigError, "give audio files"),
        ([str(folder), "a.wav", "--microphone"], ConfigError, "give audio files"),
        ([str(folder), "-", "-"], ConfigError, "once only"),
        ([str(folder), "a.wav", "--piece_ms", "0"], ConfigError, "--piece_ms"),
        ([str(folder), "a.wav", "--num_threads", "0"], ConfigError, "--num_threads"),
        ([str(folder), "a.wav", "--length_bonus", "1"], ConfigError, "search: beam"),
        ([str(tmp_path / "x"), "a.wav"], CheckpointError, "no such bundle folder"),
    ):
        with pytest.raises(error, match=message):
            stream.main(options)


class FakeMicrophone:
    """In place of the package ``sounddevice``: says a waveform, then Ctrl-C is pressed."""

    PortAudioError = OSError

    def __init__(self, wave):
        self.wave, self.position = wave, 0

    def InputStream(self, samplerate, channels, dtype):  # noqa: N802
        assert (samplerate, channels, dtype) == (16000, 1, "float32")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, size):
        if self.position >= len(self.wave):
            raise KeyboardInterrupt
        block = self.wave[self.position : self.position + size]
        self.position += size
        return block[:, None], False


def test_the_microphone_is_heard_until_interrupted(folder, wave, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophone(wave))
    stream.main([str(folder), "--microphone", "--no_partial"])
    assert capsys.readouterr().out == f"microphone {Recognizer.load(folder)(wave).text}\n"


def test_a_missing_microphone_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError, match="pip install sounddevice"):
        stream.main([str(folder), "--microphone"])
