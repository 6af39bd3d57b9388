"""Promise 1 from the waveform to the hypothesis, bounded state, and bad input."""

import math

import numpy as np
import pytest
import torch

from espnet2_supernet.decode.session import StreamingSession
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError, DataError

WEAK = ("__weakref__", "_children")  # do not keep anything alive
SEARCHES = [("ctc", "greedy"), ("ctc", "beam"), ("rnnt", "greedy"), ("rnnt", "beam")]


def feed(session, speech, size):
    for start in range(0, len(speech), size):
        session.accept(speech[start : start + size])
    return session.finish()


@pytest.mark.parametrize("encoder", ["conformer", "transformer"])
@pytest.mark.parametrize("subnet", ["device", "ahead"])
@pytest.mark.parametrize(("use", "search"), SEARCHES)
def test_streamed_equals_masked(tiny_model, speech, encoder, subnet, use, search):
    speech2text = Speech2Text.from_model(
        tiny_model(encoder=encoder), subnet, use=use, search=search, beam_size=4
    )
    for seconds, size in ((3.0, 1601), (2.017, 160), (2.5, 16000)):
        wave = speech(seconds)
        [(text, tokens, ids, hypothesis)] = speech2text(wave)
        assert len(ids) > 1
        pieces = []
        session = speech2text.stream(pieces.append)
        result = feed(session, wave, size)
        masked = speech2text.encode(wave)
        torch.testing.assert_close(torch.cat(pieces), masked, atol=1e-4, rtol=0)
        assert result.token_int == ids and result.tokens == tokens and result.text == text
        assert result.frames == hypothesis.frames and result.times == hypothesis.times
        assert result.is_final
        [best] = session.nbest()
        assert best.tokens == tuple(ids)
        assert best.score == pytest.approx(hypothesis.score, abs=1e-3)


def test_single_samples_and_empty_pieces(tiny_model, speech):
    speech2text = Speech2Text.from_model(tiny_model(), "device", use="ctc")
    wave = speech(0.5)
    session = speech2text.stream()
    for sample in wave:
        session.accept(wave[:0])
        session.accept(np.array([sample]))
    assert session.finish().token_int == speech2text(wave)[0][2]
    assert session.num_samples == len(wave)


def test_long_pieces_are_split(tiny_model, speech, monkeypatch):
    from espnet2_supernet.decode import session as module

    monkeypatch.setattr(module, "MAX_PIECE_SECONDS", 0.3)
    speech2text = Speech2Text.from_model(tiny_model(), "device", use="ctc")
    wave = speech(2.0)
    longest = []
    session = speech2text.stream(lambda frames: longest.append(len(frames)))
    result = feed(session, wave, len(wave))
    assert max(longest) <= 12 and result.token_int == speech2text(wave)[0][2]


@pytest.mark.parametrize("samples", [0, 1, 100, 399, 400, 1000, 1359])
def test_short_sounds(tiny_model, speech, samples):
    for use in ("ctc", "rnnt"):
        speech2text = Speech2Text.from_model(tiny_model(), "device", use=use)
        wave = speech(0.2)[:samples]
        [(text, tokens, ids, hypothesis)] = speech2text(wave)
        session = speech2text.stream()
        result = feed(session, wave, 50)
        assert result.token_int == ids
        if samples < 880:  # four windows of 25 ms every 10 ms make one encoder frame
            assert (text, tokens, ids, hypothesis.score) == ("", [], [], 0.0)
            assert result.text == "" and result.times == []


@pytest.mark.parametrize(("use", "search"), SEARCHES)
def test_partial_results_keep_what_they_committed(tiny_model, speech, use, search):
    speech2text = Speech2Text.from_model(tiny_model(), "device", use=use, search=search)
    session = speech2text.stream()
    wave = speech(6.0)
    results = [session.accept(piece) for piece in np.array_split(wave, 50)]
    before = [(r.token_int, r.times) for r in results]
    final = session.finish()
    assert [(r.token_int, r.times) for r in results] == before  # snapshots do not move
    assert any(0 < len(r.token_int) < len(final.token_int) for r in results)
    for result in results:
        count = result.num_committed
        assert result.token_int[:count] == final.token_int[:count]
        assert result.times[:count] == final.times[:count]
        assert not result.is_final
    assert final.times == sorted(final.times)
    assert all(0 <= t <= 6.0 for t in final.times)


def test_reset_and_finish(tiny_model, speech):
    speech2text = Speech2Text.from_model(tiny_model(), "device", use="rnnt")
    session, wave = speech2text.stream(), speech(1.5)
    first = feed(session, wave, 1000)
    assert session.finish().token_int == first.token_int  # may be asked again
    with pytest.raises(RuntimeError, match="reset"):
        session.accept(wave)
    session.reset()
    session.accept(speech(0.7, 1))
    session.reset()
    assert feed(session, wave, 777).token_int == first.token_int


def test_sessions_of_one_model_do_not_mix(tiny_model, speech):
    model = tiny_model()
    device = Speech2Text.from_model(model, "device", use="rnnt", search="beam")
    ahead = Speech2Text.from_model(model, "ahead", use="ctc")
    waves = [speech(2.0, 1), speech(2.0, 2)]
    alone = [device(waves[0])[0][2], ahead(waves[1])[0][2]]
    sessions = [device.stream(), ahead.stream()]
    for start in range(0, 32000, 1700):
        for session, wave in zip(sessions, waves, strict=True):
            session.accept(wave[start : start + 1700])
    assert [session.finish().token_int for session in sessions] == alone


def state_size(session):
    """Count all tensor elements that a session holds, and the links of its histories."""
    seen = set()

    def count(value):
        if id(value) in seen or isinstance(value, (int, float, str, type(None))):
            return 0
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            return value.untyped_storage().nbytes() // 4
        if isinstance(value, dict):
            return sum(count(v) for v in value.values())
        if isinstance(value, (list, tuple, set)):
            return sum(count(v) for v in value)
        names = [n for n in getattr(value, "__slots__", None) or () if n not in WEAK]
        fields = [getattr(value, n) for n in names] or list(getattr(value, "__dict__", {}).values())
        return 1 + sum(count(v) for v in fields)

    state = session._search_state
    held = [state.root, state.beams]
    return count([session._encoder_state, session._frontend.rest, held])


@pytest.mark.parametrize("use", ["ctc", "rnnt"])
def test_the_state_does_not_grow(tiny_model, speech, use):
    model = tiny_model()
    speech2text = Speech2Text.from_model(model, "ahead", use=use, search="beam", beam_size=2)
    speech2text.search.max_pending = 40
    session = speech2text.stream()
    wave, sizes = speech(20.0), []
    for _ in range(6):  # two minutes
        feed_only(session, wave, 8000)
        sizes.append(state_size(session))
    assert max(sizes[3:]) <= 1.5 * max(sizes[:3])
    assert len(session._search_state.transcript) > 30


def feed_only(session, speech, size):
    for start in range(0, len(speech), size):
        session.accept(speech[start : start + size])


def test_bad_samples_leave_the_session_usable(tiny_model, speech):
    speech2text = Speech2Text.from_model(tiny_model(), "device", use="ctc")
    wave = speech(1.0)
    session = speech2text.stream()
    session.accept(wave[:8000])
    for bad, message in (
        (np.array([0.0, math.nan], dtype=np.float32), "NaN"),
        (np.array([math.inf]), "infinite"),
        (np.zeros((10, 2), dtype=np.float32), r"shape \(10, 2\)"),
        (np.zeros(10, dtype=np.int16), "int16"),
    ):
        with pytest.raises(DataError, match=message):
            session.accept(bad)
        with pytest.raises(DataError, match=message):
            speech2text(bad)
    session.accept(wave[8000:])
    assert session.finish().token_int == speech2text(wave)[0][2]


def test_what_cannot_stream_is_refused(tiny_model):
    from espnet2.layers.utterance_mvn import UtteranceMVN

    with pytest.raises(ConfigError, match="'server' has full context"):
        Speech2Text.from_model(tiny_model(), "server").stream()
    model = tiny_model(normalize=UtteranceMVN())
    with pytest.raises(ConfigError, match="UtteranceMVN needs the whole utterance"):
        Speech2Text.from_model(model, "device").stream()


def test_normalisation_is_applied_frame_by_frame(tiny_model, speech, tmp_path):
    from espnet2.layers.global_mvn import GlobalMVN

    mean, var = np.linspace(-8, -2, 12), np.linspace(0.5, 4, 12)
    np.savez(tmp_path / "s.npz", count=1.0, sum=mean, sum_square=var + mean**2)
    model = tiny_model(normalize=GlobalMVN(tmp_path / "s.npz"))
    speech2text = Speech2Text.from_model(model, "device", use="ctc")
    wave, pieces = speech(2.0), []
    result = feed(speech2text.stream(pieces.append), wave, 333)
    torch.testing.assert_close(torch.cat(pieces), speech2text.encode(wave), atol=1e-4, rtol=0)
    assert result.token_int == speech2text(wave)[0][2]


def test_sessions_are_made_by_speech2text(tiny_model):
    assert isinstance(Speech2Text.from_model(tiny_model(), "ahead").stream(), StreamingSession)
