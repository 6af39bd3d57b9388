"""Streaming without torch: the same hypotheses as the trained model's streaming path."""

import threading

import numpy as np
import pytest

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError
from espnet2_supernet.runtime.bundle import Bundle
from espnet2_supernet.runtime.recognizer import Recognizer

MODELS = [
    {"encoder": encoder, "subsampling": subsampling, "predictor": predictor}
    for encoder, subsampling, predictor in (
        ("conformer", "conv2d", "rnn"),
        ("conformer", "stack", "stateless"),
        ("transformer", "conv2d", "stateless"),
        ("transformer", "stack", "rnn"),
    )
]
SEARCHES = [("ctc", "greedy"), ("ctc", "beam"), ("rnnt", "greedy"), ("rnnt", "beam")]


def feed(session, speech, size):
    for start in range(0, len(speech), size):
        session.accept(speech[start : start + size])
    return session.finish()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("subnet", ["device", "ahead"])  # the latter with right context
@pytest.mark.parametrize(("use", "search"), SEARCHES)
def test_hypotheses_equal_those_of_torch(
    tiny_model, make_bundle, speech, model, subnet, use, search
):
    options = {"use": use, "search": search, "beam_size": 4}
    theirs = Speech2Text.from_model(tiny_model(**model), subnet, **options)
    ours = Recognizer(make_bundle(subnet, **model), **options)
    assert ours.frame_ms == theirs.frame_ms and ours.fs == theirs.fs
    lengths = []
    for seconds, size in ((2.0, 1601), (1.517, 160), (0.3, 16000)):
        wave, encoded, expected = speech(seconds, seed=size), [], []
        session, source = ours.stream(encoded.append), theirs.stream(expected.append)
        found, wanted = feed(session, wave, size), feed(source, wave, size)
        assert found.token_int == wanted.token_int and found.frames == wanted.frames
        assert found.text == wanted.text and found.is_final
        pairs = np.concatenate(encoded), np.concatenate([one.numpy() for one in expected])
        np.testing.assert_allclose(*pairs, atol=1e-4)
        [best], [source_best] = session.nbest(), source.nbest()
        assert best.score == pytest.approx(source_best.score, abs=1e-2)
        lengths.append(len(found.token_int))
    assert max(lengths) > 0


def test_normalisation_is_part_of_a_bundle(tiny_model, speech, tmp_path):
    from espnet2.layers.global_mvn import GlobalMVN

    from espnet2_supernet.tasks import bundling

    np.savez(tmp_path / "s.npz", count=1, sum=np.full(12, -3.0), sum_square=np.full(12, 12.0))
    model = tiny_model(normalize=GlobalMVN(tmp_path / "s.npz").float())
    origin = bundling.Origin("", "")
    bundle = bundling.make_bundle(model, "ahead", None, "fp32", "char", origin)
    found, wanted = Recognizer(bundle)(speech(1.5)), Speech2Text.from_model(model, "ahead").stream()
    assert found.token_int == feed(wanted, speech(1.5), 4000).token_int


def test_sessions_share_weights_and_nothing_else(make_bundle, speech):
    recognizer = Recognizer(make_bundle(), use="ctc")
    waves = [speech(1.5, seed=seed) for seed in range(3)]
    expected = [recognizer(wave).token_int for wave in waves]
    sessions = [recognizer.stream() for _ in waves]
    for start in range(0, 24000, 700):
        for session, wave in zip(sessions, waves, strict=True):
            session.accept(wave[start : start + 700])
    assert [session.finish().token_int for session in sessions] == expected
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: recognizer(waves[i]).token_int}))
        for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(3)] == expected


def test_threads_change_nothing(make_bundle, speech):
    encoded: list[list[np.ndarray]] = [[], []]
    for threads, frames in zip((1, 2), encoded, strict=True):
        feed(Recognizer(make_bundle(), num_threads=threads).stream(frames.append), speech(1.0), 999)
    np.testing.assert_array_equal(*(np.concatenate(frames) for frames in encoded))


def test_partial_results_grow_and_stay(make_bundle, speech):
    session, wave = Recognizer(make_bundle(), use="ctc").stream(), speech(2.0)
    before: list[int] = []
    for start in range(0, len(wave), 1600):
        result = session.accept(wave[start : start + 1600])
        assert not result.is_final and result.token_int[: len(before)] == before
        before = result.token_int
    final = session.finish().token_int
    assert final[: len(before)] == before
    assert session.num_samples == len(wave) and session.result().is_final
    with pytest.raises(RuntimeError, match="reset"):
        session.accept(wave)
    session.reset()
    assert (
        feed(session, wave, 999).token_int == Recognizer(make_bundle(), use="ctc")(wave).token_int
    )


def test_chunks_of_one_sample(make_bundle, speech):
    recognizer, wave = Recognizer(make_bundle()), speech(0.4)
    assert feed(recognizer.stream(), wave, 1).token_int == recognizer(wave).token_int


@pytest.mark.parametrize("length", [0, 1, 399, 400, 1000])
@pytest.mark.parametrize("use", ["ctc", "rnnt"])
def test_next_to_no_audio(tiny_model, make_bundle, speech, length, use):
    wave = speech(1.0)[:length]
    found = Recognizer(make_bundle(), use=use)(wave)
    session = Speech2Text.from_model(tiny_model(), "device", use=use).stream()
    session.accept(wave)
    assert found.token_int == session.finish().token_int and found.is_final


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(10, np.nan, np.float32), "NaN or infinite"),
        (np.full(10, np.inf), "NaN or infinite"),
        (np.zeros((10, 2), np.float32), r"one channel of samples \(N,\)"),
        (np.zeros(10, np.int16), "divide 16-bit samples"),
    ],
)
def test_bad_samples_leave_the_session_alone(make_bundle, speech, samples, message):
    recognizer, wave = Recognizer(make_bundle()), speech(1.0)
    session = recognizer.stream()
    session.accept(wave[:8000])
    with pytest.raises(DataError, match=message):
        session.accept(samples)
    session.accept(wave[8000:])
    assert session.finish().token_int == recognizer(wave).token_int


def test_int8_is_close(make_bundle, speech):
    outputs = []
    for precision in ("fp32", "int8"):
        frames: list[np.ndarray] = []
        feed(Recognizer(make_bundle(precision=precision)).stream(frames.append), speech(2.0), 1600)
        outputs.append(np.concatenate(frames))
    error = np.square(outputs[0] - outputs[1]).mean() / np.square(outputs[0]).mean()
    assert 0 < error**0.5 < 0.1


def test_options_and_outputs_are_checked(make_bundle):
    assert Recognizer(make_bundle(ctc_weight=1.0)).output == "ctc"
    assert Recognizer(make_bundle()).output == "rnnt"
    with pytest.raises(ConfigError, match="without an RNN-T"):
        Recognizer(make_bundle(ctc_weight=1.0), use="rnnt")
    with pytest.raises(ConfigError, match="without CTC"):
        Recognizer(make_bundle(ctc_weight=0.0), use="ctc")
    with pytest.raises(ConfigError, match="'beam_sise'; did you mean 'beam_size'"):
        Recognizer(make_bundle(), beam_sise=3)


def test_weights_that_do_not_fit_are_named(make_bundle):
    bundle = make_bundle()
    name = "encoder.blocks.0.norm_attention.weight"
    for weights, message in (
        ({k: v for k, v in bundle.weights.items() if k != name}, "norm_attention.weight"),
        (bundle.weights | {name: np.ones(3, np.float32)}, "norm_attention.weight"),
        (bundle.weights | {"features.window": np.ones(3, np.float32)}, "window"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Recognizer(Bundle(bundle.description, weights))


def test_latency_is_told(make_bundle):
    recognizer = Recognizer(make_bundle("ahead"))
    assert recognizer.algorithmic_latency_ms == (4 + 2) * 40 + 15
