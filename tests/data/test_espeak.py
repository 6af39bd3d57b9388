import ctypes
import sys
from pathlib import Path

import espeakng_loader
import pytest

from espnet2_supernet.data.espeak import Prosody, Synthesiser, load_private_copy
from espnet2_supernet.errors import DataError


def test_speech_follows_the_rate():
    synthesiser = Synthesiser()
    slow = synthesiser.say("one two three", "en-us+m3", Prosody(rate=120))
    fast = synthesiser.say("one two three", "en-us+m3", Prosody(rate=240))
    assert synthesiser.fs == 22050
    assert 0.5 * synthesiser.fs < len(fast) < 0.8 * len(slow)
    assert 0.05 < abs(slow).max() <= 1.0


@pytest.mark.parametrize("voice", ["en-us+m1", "en-us+whisper"])
def test_a_new_synthesiser_repeats_the_series(voice):
    def series(seed):
        synthesiser = Synthesiser(seed)
        return [synthesiser.say(text, voice, Prosody()).tolist() for text in ("one", "go", "one")]

    first = series(3)
    Synthesiser(9).say("in between", "en-us+f2", Prosody())
    assert series(3) == first
    assert first[0] != first[2]


def test_phonemes_are_not_spelled():
    synthesiser = Synthesiser()
    assert len(synthesiser.say("[['eI]]", "en-us", Prosody())) < synthesiser.fs


def test_unknown_voice():
    with pytest.raises(DataError, match="no voice 'xx-none'"):
        Synthesiser().say("one", "xx-none", Prosody())


def test_copy_falls_back_to_the_scratch_folder(monkeypatch, tmp_path):
    load, tried = ctypes.CDLL, []

    def noexec(path):
        tried.append(Path(path).parent)
        if len(tried) == 1:
            raise OSError("failed to map segment")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", noexec)
    load_private_copy(espeakng_loader.get_library_path(), tmp_path)
    assert tried[1] == tmp_path and list(tmp_path.iterdir()) == []


def test_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        Synthesiser()
