"""ESPnet's call contract, the choice of subnet and context, loading, and language models."""

import copy

import numpy as np
import pytest
import torch
import yaml

from espnet2_supernet.decode.lm import FusionLM, load_lm
from espnet2_supernet.decode.loading import fetch_packed, load_model, packed_files
from espnet2_supernet.decode.options import DecodeOptions, merge_context
from espnet2_supernet.decode.results import Hypothesis
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.decode.text import TextDecoder
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.context import Context

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]


def make_lm(vocab=8):
    from espnet2.lm.seq_rnn_lm import SequentialRNNLM

    torch.manual_seed(0)
    model = SequentialRNNLM(vocab, unit=8, nlayers=2)
    with torch.no_grad():
        model.decoder.weight.mul_(5.0)
    return model


@pytest.mark.parametrize("subnet", [None, "server", "device"])
@pytest.mark.parametrize("use", ["auto", "ctc"])
def test_results_have_espnets_shape(tiny_model, speech, subnet, use):
    speech2text = Speech2Text.from_model(tiny_model(), subnet, use=use)
    assert speech2text.output == {"auto": "rnnt", "ctc": "ctc"}[use]
    for wave in (speech(1.0), torch.from_numpy(speech(1.0))):
        results = speech2text(wave)
        assert len(results) == 1
        text, tokens, ids, hypothesis = results[0]
        assert [TOKENS[i] for i in ids] == tokens and isinstance(hypothesis, Hypothesis)
        assert text == "".join(tokens).replace("<space>", " ")
        assert hypothesis.yseq == ids and len(hypothesis.times) == len(ids)
        assert hypothesis.score <= 0 and 0 not in ids


@pytest.mark.parametrize("use", ["ctc", "rnnt"])
def test_nbest_is_sorted(tiny_model, speech, use):
    speech2text = Speech2Text.from_model(
        tiny_model(), "device", use=use, search="beam", beam_size=5, nbest=3
    )
    results = speech2text(speech(1.0))
    scores = [result[3].score for result in results]
    assert len(results) == 3 and scores == sorted(scores, reverse=True)
    assert len({tuple(result[2]) for result in results}) == 3


def test_the_subnet_in_use_is_restored(tiny_model, speech):
    model = tiny_model()
    wave = speech(1.0)
    server = Speech2Text.from_model(model, "server", use="ctc")
    before = server.encode(wave)
    device = Speech2Text.from_model(model, "device", use="ctc")
    assert not torch.equal(device.encode(wave), before)
    device.stream().accept(wave)
    torch.testing.assert_close(server.encode(wave), before)


def test_unknown_and_untrained(tiny_model):
    model = tiny_model()
    with pytest.raises(ConfigError, match="no subnet 'phone'; this supernet has: server, device"):
        Speech2Text.from_model(model, "phone")
    with pytest.raises(ConfigError, match="not trained for chunk 5, left 8"):
        Speech2Text.from_model(model, "device", {"chunk_size": 5})
    with pytest.raises(ConfigError, match="unknown key 'chunk'"):
        Speech2Text.from_model(model, "device", {"chunk": 5})
    with pytest.raises(ConfigError, match="unknown key 'beam'; did you mean 'beam_size'"):
        Speech2Text.from_model(model, "device", beam=5)
    allowed = Speech2Text.from_model(model, "device", {"chunk_size": 5}, allow_untrained=True)
    assert allowed.context == Context(5, 8, 0)
    trained = Speech2Text.from_model(model, "device", {"chunk_size": 8})
    assert trained.context == Context(8, 8, 0)


def test_heads_that_are_missing(tiny_model):
    with pytest.raises(ConfigError, match="without an RNN-T"):
        Speech2Text.from_model(tiny_model(ctc_weight=1.0), use="rnnt")
    with pytest.raises(ConfigError, match="without CTC"):
        Speech2Text.from_model(tiny_model(ctc_weight=0.0), use="ctc")
    assert Speech2Text.from_model(tiny_model(ctc_weight=1.0)).output == "ctc"


def test_double_precision_agrees(tiny_model, speech):
    # a model of its own: the precision of a model changes in place
    model, wave = copy.deepcopy(tiny_model(ctc_weight=1.0)), speech(1.0)
    single = Speech2Text.from_model(model, "device")(wave)
    double = Speech2Text.from_model(model, "device", dtype="float64")
    assert double.encode(wave).dtype == torch.float64
    assert double(wave)[0][2] == single[0][2]
    session = double.stream()
    session.accept(wave)
    assert session.finish().token_int == single[0][2]


def test_double_precision_is_refused_for_rnnt(tiny_model):
    with pytest.raises(ConfigError, match="float64 is for CTC"):
        Speech2Text.from_model(tiny_model(), dtype="float64")
    with pytest.raises(ConfigError, match="float8"):
        Speech2Text.from_model(tiny_model(), dtype="float8")


@pytest.mark.parametrize("use", ["ctc", "rnnt"])
def test_fusion_changes_the_result_and_streams(tiny_model, speech, use):
    lm = FusionLM(make_lm(), len(TOKENS))
    options = {"use": use, "search": "beam", "beam_size": 4}
    model, wave = tiny_model(), speech(2.0)
    plain = Speech2Text.from_model(model, "device", **options)(wave)
    fused = Speech2Text.from_model(model, "device", lm=lm, lm_weight=0.8, **options)
    assert fused(wave)[0][3].score < plain[0][3].score
    session = fused.stream()
    for start in range(0, len(wave), 1234):
        session.accept(wave[start : start + 1234])
    assert session.finish().token_int == fused(wave)[0][2]


def test_a_model_and_its_weight_go_together(tiny_model):
    lm = FusionLM(make_lm(), len(TOKENS))
    for options in ({"lm": lm}, {"lm_weight": 0.3}):
        with pytest.raises(ConfigError, match="lm_weight"):
            Speech2Text.from_model(tiny_model(), search="beam", **options)


def test_fusion_is_espnets_score():
    lm, model = FusionLM(make_lm(), len(TOKENS)), make_lm().eval()
    [state], first = lm.start()
    states, rows = lm.step([state, state], [2, 3])
    _, rows = lm.step(states, [4, 5])
    for row, tokens in ((first[0], []), (rows[0], [2, 4]), (rows[1], [3, 5])):
        out, _ = model(torch.tensor([[7, *tokens]]), None)
        np.testing.assert_allclose(row, out[0, -1].log_softmax(-1).detach(), atol=1e-6)


def test_lms_that_cannot_be_fused(tmp_path):
    from espnet2.lm.transformer_lm import TransformerLM

    with pytest.raises(ConfigError, match="TransformerLM: only recurrent"):
        FusionLM(TransformerLM(8, att_unit=4, head=2, unit=4, layer=1), 8)
    with pytest.raises(ConfigError, match="5 tokens, the recogniser 8"):
        FusionLM(make_lm(5), 8)
    with pytest.raises(CheckpointError, match="no such file"):
        load_lm(tmp_path / "config.yaml", tmp_path / "lm.pth", 8)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (None, Context(16, 64, 2)),
        ({}, Context(16, 64, 2)),
        ({"chunk_size": 8}, Context(8, 64, 2)),
        ({"right_context": 0}, Context(16, 64, 0)),
        (Context(4), Context(4)),
        ("full", Context()),
        ({"chunk_size": "full"}, Context()),
    ],
)
def test_merge_context(wish, expected):
    assert merge_context(Context(16, 64, 2), wish) == expected


@pytest.mark.parametrize("wish", [{"left": 1}, {"chunk_size": 0}, {"left_context": -1}, 3])
def test_bad_contexts(wish):
    with pytest.raises(ConfigError):
        merge_context(Context(16, 64, 2), wish)
    with pytest.raises(ConfigError):
        merge_context(Context(), {"left_context": 3})


@pytest.mark.parametrize(
    "options",
    [
        {"search": "fast"}, {"use": "both"}, {"beam_size": 0}, {"beam_size": 2.5},
        {"nbest": 0}, {"nbest": 2}, {"lm_weight": -1.0, "search": "beam"}, {"lm_weight": 0.1},
        {"lm_weight": float("nan"), "search": "beam"}, {"length_bonus": 1.0}, {"max_symbols": 0},
    ],
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(ConfigError):
        DecodeOptions(**options)


def test_text_of_every_token_type(tmp_path):
    assert TextDecoder(["a", "<space>", "b"], "char").text(["a", "<space>", "b"]) == "a b"
    assert TextDecoder(["hi", "you"], "word").text(["hi", "you"]) == "hi you"
    assert TextDecoder([], "bpe").text(["\u2581he", "llo", "\u2581you"]) == "hello you"
    assert TextDecoder([], None).text(["x"]) is None
    assert TextDecoder(["a", "b"], "char").tokens([1, 0]) == ["b", "a"]
    with pytest.raises(ConfigError, match="no such file"):
        TextDecoder([], "bpe", tmp_path / "bpe.model")


def test_bpe_is_joined_as_sentencepiece_does(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\nthe dog ate the cat\nhello you all\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "bpe"), vocab_size=30, minloglevel=2,
        hard_vocab_limit=False, num_threads=1,
    )  # fmt: skip
    model = tmp_path / "bpe.model"
    pieces = sentencepiece.SentencePieceProcessor(str(model)).encode("the mat sat", out_type=str)
    assert TextDecoder([], "bpe").text(pieces) == "the mat sat"
    assert TextDecoder([], "bpe", model).text(pieces) == "the mat sat"


def test_folders_of_models(tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(CheckpointError, match="found: none"):
        packed_files(tmp_path)
    for name in ("valid.loss.ave_3best.pth", "valid.cer.ave_3best.pth"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="valid.cer.ave_3best.pth, valid.loss"):
        packed_files(tmp_path)
    (tmp_path / "valid.cer.ave_3best.pth").unlink()
    assert packed_files(tmp_path)["asr_model_file"].name == "valid.loss.ave_3best.pth"
    meta = {"files": {"asr_model_file": "m.pth"}, "yaml_files": {"asr_train_config": "c.yaml"}}
    (tmp_path / "meta.yaml").write_text(yaml.safe_dump(meta))
    assert packed_files(tmp_path) == {
        "asr_train_config": tmp_path / "c.yaml", "asr_model_file": tmp_path / "m.pth",
    }  # fmt: skip
    (tmp_path / "meta.yaml").write_text("files: {}\n")
    with pytest.raises(CheckpointError, match="names no asr_train_config"):
        packed_files(tmp_path)


def test_loading_errors(tmp_path):
    with pytest.raises(CheckpointError, match="asr_train_config: no such file"):
        load_model(tmp_path / "config.yaml", tmp_path / "m.pth")
    for name in ("config.yaml", "m.pth"):
        (tmp_path / name).write_text("")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="this machine has none"):
            load_model(tmp_path / "config.yaml", tmp_path / "m.pth", "cuda")
    try:
        import espnet_model_zoo  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="pip install espnet_model_zoo"):
            fetch_packed("someone/model")
