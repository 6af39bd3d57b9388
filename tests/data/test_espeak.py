import sys

import pytest

from espnet2_supernet.data.espeak import Prosody, Synthesiser
from espnet2_supernet.errors import DataError


def test_speech_follows_the_rate():
    synthesiser = Synthesiser()
    slow = synthesiser.say("one two three", "en-us+m3", Prosody(rate=120))
    fast = synthesiser.say("one two three", "en-us+m3", Prosody(rate=240))
    assert synthesiser.fs == 22050
    assert 0.5 * synthesiser.fs < len(fast) < 0.8 * len(slow)
    assert 0.05 < abs(slow).max() <= 1.0


def test_phonemes_are_not_spelled():
    synthesiser = Synthesiser()
    assert len(synthesiser.say("[['eI]]", "en-us", Prosody())) < synthesiser.fs


def test_unknown_voice():
    with pytest.raises(DataError, match="no voice 'xx-none'"):
        Synthesiser().say("one", "xx-none", Prosody())


def test_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        Synthesiser()
