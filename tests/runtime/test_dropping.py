"""Bundles of subnets that drop frames: what torch's streaming path recognises, and when."""

import itertools

import numpy as np
import pytest

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.runtime.bundle import read_bundle, write_bundle
from espnet2_supernet.runtime.recognizer import Recognizer
from tiny_models import TOKEN_RULES

MODELS = {
    "conformer": {"encoder": "conformer", "subsampling": "conv2d", "predictor": "rnn"},
    "transformer": {"encoder": "transformer", "subsampling": "stack", "predictor": "stateless"},
}
SEARCHES = [("ctc", "greedy"), ("rnnt", "greedy"), ("ctc", "beam"), ("rnnt", "beam")]
# Every rule meets every encoder and subnet; searches take turns.
GRID = [
    (*case, *SEARCHES[(number + number // 4) % 4])
    for number, case in enumerate(itertools.product(TOKEN_RULES, MODELS, ("device", "ahead")))
]


def feed(session, wave, size):
    for start in range(0, len(wave), size):
        session.accept(wave[start : start + size])
    return session.finish()


@pytest.mark.parametrize(("tokens", "kind", "subnet", "use", "search"), GRID)
def test_hypotheses_equal_those_of_torch(
    tiny_model, make_bundle, speech, tokens, kind, subnet, use, search
):
    options, model = {"use": use, "search": search, "beam_size": 3}, {**MODELS[kind]}
    theirs = Speech2Text.from_model(tiny_model(tokens=tokens, **model), subnet, **options)
    ours = Recognizer(make_bundle(subnet, tokens=tokens, **model), **options)
    shares, lengths = [], []
    for seconds, size, quiet in ((2.0, 1601, False), (1.517, 160, True), (0.3, 16000, False)):
        wave, encoded, expected = speech(seconds, seed=size), [], []
        if quiet:  # chunks of which little or nothing is kept
            wave[len(wave) // 3 : -4000] *= 1e-4
        session, source = ours.stream(encoded.append), theirs.stream(expected.append)
        found, wanted = feed(session, wave, size), feed(source, wave, size)
        assert found.token_int == wanted.token_int and found.frames == wanted.frames
        assert found.text == wanted.text and found.times == wanted.times
        pairs = np.concatenate(encoded), np.concatenate([one.numpy() for one in expected])
        np.testing.assert_allclose(*pairs, atol=1e-4)
        assert tokens not in ("restored", "changed") or len(pairs[0]) == session.num_frames
        [best], [source_best] = session.nbest(), source.nbest()
        assert best.score == pytest.approx(source_best.score, abs=1e-2)
        shares.append(len(pairs[0]) / session.num_frames)
        lengths.append(len(found.token_int))
    assert (tokens in ("restored", "changed") or min(shares) < 0.9) and max(lengths) > 0


def test_silence_costs_nothing_and_times_go_on(make_bundle, speech):
    """After a second of sound, twenty of chunks that keep nothing, and sound again."""
    recognizer, steps = Recognizer(make_bundle(tokens="energy"), use="ctc"), []
    encode = recognizer.encoder._kept_step._encode
    recognizer.encoder._kept_step._encode = lambda *args: steps.append(1) or encode(*args)
    session, sound = recognizer.stream(), speech(1.0)
    session.accept(sound)
    silence, before = np.zeros(16000, np.float32), len(steps)
    for _ in range(20):
        session.accept(silence)
    assert 0 < before <= 8 and len(steps) <= before + 1
    session.accept(sound)
    result = session.finish()
    assert len(steps) > before + 4 and session.num_frames == pytest.approx(22 * 25, abs=1)
    assert max(result.frames) > 21 * 25 and result.times[-1] > 21.0


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 1000, 1359])
def test_short_sounds(tiny_model, make_bundle, speech, samples):
    for use in ("ctc", "rnnt"):
        theirs = Speech2Text.from_model(tiny_model(tokens="salad"), "device", use=use)
        ours = Recognizer(make_bundle(tokens="salad"), use=use)
        wave = speech(0.2)[:samples]
        found, wanted = (feed(one.stream(), wave, 50) for one in (ours, theirs))
        assert found.token_int == wanted.token_int and found.frames == wanted.frames


@pytest.mark.parametrize("tokens", ["salad", "merged", "later", "restored", "changed"])
def test_the_state_does_not_grow(make_bundle, speech, tokens):
    session = Recognizer(make_bundle("ahead", tokens=tokens), use="ctc").stream()
    sizes = set()
    for _ in range(5):
        for part in np.array_split(speech(4.0), 8):
            session.accept(part)
        state = session._encoder_state
        assert len(state.frames) == len(state.keep) < 4 + 2 and len(state.feats) < 4
        assert state.rule.carried is None or state.rule.carried.shape == (16,)
        parts = [getattr(state.memory, key, None) for key in ("below", "kept", "above")]
        parts = [part for part in parts if part is not None] or [state.memory]
        arrays = [array for part in parts for array in part.memory] + [*state.rule.detector]
        arrays += [part.times for part in parts if hasattr(part, "times")]
        sizes.add(sum(array.size for array in arrays))
    assert len(sizes) == 1


@pytest.mark.parametrize("tokens", ["merged", "later", "restored"])
def test_threads_and_sessions_change_nothing(make_bundle, speech, tokens):
    bundle, waves = make_bundle("ahead", tokens=tokens), [speech(1.5, seed=i) for i in range(3)]
    one, two = (Recognizer(bundle, use="ctc", num_threads=n) for n in (1, 2))
    sessions, encoded = [one.stream() for _ in waves], [[] for _ in waves]
    for start in range(0, 24000, 700):
        for session, wave in zip(sessions, waves, strict=True):
            session.accept(wave[start : start + 700])
    for session, wave, frames in zip(sessions, waves, encoded, strict=True):
        result = session.finish()
        same = feed(two.stream(frames.append), wave, 24000)
        assert (same.token_int, same.frames) == (result.token_int, result.frames)


@pytest.mark.parametrize("tokens", ["salad", "later", "restored", "downsample", "energy"])
def test_int8_keeps_the_same_frames_and_is_close(make_bundle, speech, tokens):
    outputs, times = [], []
    for precision in ("fp32", "int8"):
        frames: list[np.ndarray] = []
        recognizer = Recognizer(make_bundle(precision=precision, tokens=tokens), use="ctc")
        session, found = recognizer.stream(frames.append), []
        for start in range(0, 32000, 1600):
            session.accept(speech(2.0)[start : start + 1600])
            found += session._encoder_state.times
        outputs.append(np.concatenate(frames))
        times.append(found)
    assert times[0] == times[1] and len(times[0]) == len(outputs[0])
    error = np.square(outputs[0] - outputs[1]).mean() / np.square(outputs[0]).mean()
    assert 0 < error**0.5 < 0.1


@pytest.mark.parametrize("tokens", ["merged", "later", "restored", "changed"])
def test_a_rule_is_read_as_written(make_bundle, tmp_path, speech, tokens):
    bundle = make_bundle("ahead", tokens=tokens)
    write_bundle(tmp_path, bundle)
    found = read_bundle(tmp_path, allow_untrained=True)
    assert found.description == bundle.description
    written = found.description.to_dict()["keep_rule"]
    later = {key for key in ("before_block", "restore_before_block", "restored") if key in written}
    said = {"later": {"before_block"}, "restored": {"restore_before_block"}}
    said["changed"] = {"restore_before_block", "restored"}
    assert later == said.get(tokens, set()), "they are there only where they say something"
    wave = speech(1.0)
    assert Recognizer(found)(wave).frames == Recognizer(bundle)(wave).frames
