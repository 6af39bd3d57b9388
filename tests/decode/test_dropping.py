"""Promise 1 with dropped frames, from waveform to tokens; times count all frames."""

import pytest
import torch

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.search.ctc import GreedyCTC
from espnet2_supernet.runtime.search.ctc_beam import PrefixBeamCTC

TOKENS = ["salad", "compacted", "merged", "later", "restored", "changed", "downsample", "random"]
SEARCHES = [("ctc", "greedy"), ("ctc", "beam"), ("rnnt", "greedy"), ("rnnt", "beam")]


def feed(session, speech, size):
    for start in range(0, len(speech), size):
        session.accept(speech[start : start + size])
    return session.finish()


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("subnet", ["device", "ahead"])
@pytest.mark.parametrize(("use", "search"), SEARCHES)
def test_streamed_equals_masked(tiny_model, speech, tokens, subnet, use, search):
    speech2text = Speech2Text.from_model(
        tiny_model(tokens=tokens), subnet, use=use, search=search, beam_size=3
    )
    for seconds, size in ((1.517, 160), (2.0, 1601)):
        wave, pieces = speech(seconds), []
        [(_, tokens_found, ids, hypothesis)] = speech2text(wave)
        masked, times = speech2text.encode_with_times(wave)
        comes_back = tokens in ("restored", "changed")
        times = range(len(masked)) if comes_back else times
        num_frames = (1 + (len(wave) - 400) // 160) // 4
        assert (0 < len(masked) < num_frames) != comes_back and len(masked)
        assert [*times] == sorted(set(times))
        session = speech2text.stream(pieces.append)
        result = feed(session, wave, size)
        torch.testing.assert_close(torch.cat(pieces), masked, atol=1e-4, rtol=0)
        assert result.token_int == ids and result.tokens == tokens_found
        assert result.frames == hypothesis.frames and result.times == hypothesis.times
        assert set(hypothesis.frames) <= set(times)
        [best] = session.nbest()
        assert best.score == pytest.approx(hypothesis.score, abs=1e-3)


def test_tokens_are_emitted_when_they_were_heard(tiny_model, speech):
    """Every second frame is dropped: all times are even frames, up to the end."""
    speech2text = Speech2Text.from_model(tiny_model(tokens="downsample"), "device", use="ctc")
    wave = speech(3.0)
    frames, times = speech2text.encode_with_times(wave)
    assert times == list(range(0, 2 * len(frames), 2))
    [(_, _, ids, hypothesis)] = speech2text(wave)
    assert len(ids) > 3 and all(frame % 2 == 0 for frame in hypothesis.frames)
    assert hypothesis.frames[-1] > len(frames)
    assert hypothesis.times == [frame * 0.04 for frame in hypothesis.frames]


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 1000, 1359])
@pytest.mark.parametrize("tokens", ["salad", "later", "restored", "changed", "downsample"])
def test_short_sounds(tiny_model, speech, samples, tokens):
    for use in ("ctc", "rnnt"):
        speech2text = Speech2Text.from_model(tiny_model(tokens=tokens), "device", use=use)
        wave = speech(0.2)[:samples]
        [(_, _, ids, _)] = speech2text(wave)
        assert feed(speech2text.stream(), wave, 50).token_int == ids


def test_the_state_does_not_grow(tiny_model, speech):
    session = Speech2Text.from_model(tiny_model(tokens="salad"), "ahead", use="ctc").stream()
    sizes = []
    for _ in range(4):
        for start in range(0, 80_000, 8000):
            session.accept(speech(5.0)[start : start + 8000])
        state = session._encoder_state
        past = state.dropping.past
        assert past.times.shape == (1, 4) and past.num_kept.shape == (1,)
        sizes.append(state.frames.size(1) + state.dropping.keep.size(1) + state.feats.size(1))
    assert max(sizes) <= 2 * 6 + 3


def test_energy_keeps_the_loud_frames(tiny_model, speech):
    speech2text = Speech2Text.from_model(tiny_model(tokens="energy"), "device", use="ctc")
    wave = speech(2.0)
    wave[16000:] *= 1e-4
    _, times = speech2text.encode_with_times(wave)
    assert times[0] == 0 and max(times) < 26


def test_a_rank_over_the_utterance_is_for_full_context_only(tiny_model):
    model = tiny_model(tokens="salad")
    with pytest.raises(ConfigError, match="untrained contexts"):
        Speech2Text.from_model(model, "device", {"chunk_size": 3})
    assert Speech2Text.from_model(model, "device", "full", allow_untrained=True).context.is_full


@pytest.mark.parametrize("make", [GreedyCTC, lambda: PrefixBeamCTC(beam_size=3)])
def test_searches_stamp_the_times_that_they_are_told(make):
    log_probs = torch.full((4, 3), -20.0)
    log_probs[[0, 1, 2, 3], [1, 0, 2, 1]] = 0.0
    search = make()
    state = search.init_state()
    search.advance(state, log_probs[:2].numpy(), [5, 8])
    search.advance(state, log_probs[2:].numpy(), [13, 40])
    [best] = search.nbest(state)
    assert (best.tokens, best.frames) == ((1, 2, 1), (5, 13, 40))
