"""Subnets with a CTC head and a final norm of their own."""

import pytest
import torch
from espnet2.asr.ctc import CTC

from espnet2_supernet.asr.heads import shared_key, with_own_heads
from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.encrl.teacher import FrozenTeacher
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.tasks.extraction import subnet_states
from espnet2_supernet.train.monitor import count_weights
from tiny_models import STREAM_TOKENS, TRANSDUCERS, gradients

EXIT = {"context": {"chunk_size": 4, "left_context": 4}, "depth": 1, "head": "own"}
OWN = ["ctc_heads.head_half.ctc_lo.", "encoder.norm.norm_half."]
SHARED = ["ctc.ctc_lo.", "encoder.norm."]


def make_model(row=EXIT, ctc_weight=1.0, transducer=None, num_blocks=2):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(
        12, 16, 2, 32, num_blocks=num_blocks, subsampling_channels=4, dropout_rate=0.0
    )
    table = {"server": {"context": "full"}} | ({"half": row} if row else {})
    ctc = CTC(len(STREAM_TOKENS), 16)
    with torch.no_grad():
        ctc.ctc_lo.weight.mul_(6.0)
    return SupernetASRModel(
        len(STREAM_TOKENS), STREAM_TOKENS, LogMelFrontend(n_mels=12), None, None, None, encoder,
        None, None, ctc, None, {"subnets": table}, ctc_weight, transducer,
    ).eval()  # fmt: skip


def batch(speech):
    return {
        "speech": torch.stack([torch.from_numpy(speech(1.0, seed=i)) for i in range(2)]),
        "speech_lengths": torch.tensor([16000, 12000]),
        "text": torch.tensor([[2, 3, 4], [4, 2, 0]]),
        "text_lengths": torch.tensor([3, 2]),
    }


def lively():
    """A model whose own head says something else than the shared one."""
    model = make_model()
    with torch.no_grad():
        own = model.ctc_of("half").ctc_lo
        own.weight.copy_(own.weight.roll(3, 0))
        model.encoder.norm.private("half").weight.mul_(torch.linspace(0.5, 2.0, 16))
    return model


def keys(model, prefixes):
    found = [key for key in model.state_dict() if key.startswith(tuple(prefixes))]
    return {key for key in found if ".norm_" not in key or prefixes is OWN}


def test_it_starts_as_a_copy_and_each_loss_reaches_its_own_head_only(speech):
    model, plain = make_model(), make_model({k: v for k, v in EXIT.items() if k != "head"})
    assert keys(model, OWN) == model.state_dict().keys() - plain.state_dict().keys()
    assert len(keys(model, OWN)) == len(keys(model, SHARED)) == 4
    assert model(**batch(speech))[0] == plain(**batch(speech))[0]
    for row, wanted, others in (("server", SHARED, OWN), ("half", OWN, SHARED)):
        model.zero_grad()
        model.supernet_config.loss_weights.update({"server": 0.0, "half": 0.0, row: 1.0})
        model(**batch(speech))[0].backward()
        moved = {key for key, grad in gradients(model).items() if grad.abs().sum() > 0}
        assert keys(model, wanted) <= moved and keys(model, others).isdisjoint(moved)


def test_streamed_equals_masked_with_the_own_head(speech):
    recogniser = Speech2Text.from_model(lively(), "half")
    wave = speech(2.3)
    [(_, _, tokens, _)] = recogniser(wave)
    assert tokens
    session = recogniser.stream()
    for start in range(0, len(wave), 777):
        session.accept(wave[start : start + 777])
    assert session.finish().token_int == tokens
    [(_, _, shared, _)] = Speech2Text.from_model(make_model(), "half")(wave)
    assert shared != tokens, "the head matters"


def test_an_extracted_model_has_this_head_only(speech):
    model = lively()
    plain = make_model(None, num_blocks=1)
    states = subnet_states(model, "half")
    plain.load_state_dict(states, strict=True)
    wave = torch.from_numpy(speech(1.5))[None]
    context = model.supernet.subnet("half").context
    outputs = []
    for one, name in ((model, "half"), (plain, "server")):
        frames, _ = one.encode(wave, torch.tensor([wave.size(1)]), name, context)
        outputs.append(one.ctc_of(name).log_softmax(frames))
    assert torch.equal(*outputs)
    whole = subnet_states(model, "server")
    assert torch.equal(whole["ctc.ctc_lo.weight"], model.ctc.ctc_lo.weight)
    assert not any(shared_key(key) for key in (*states, *whole))
    size = count_weights(model, "half")["parameters"]
    assert size == sum(p.numel() for p in plain.parameters())
    assert count_weights(model, "server")["parameters"] == sum(
        p.numel() for p in make_model(None).parameters()
    )


def test_a_teacher_teaches_with_the_head_of_its_row(speech):
    model = lively()
    data = batch(speech)
    feats, lengths = model.extract_features(data["speech"], data["speech_lengths"])
    taught = FrozenTeacher(model, "half").teach(feats, lengths, feats)
    assert torch.equal(taught.logits, model.ctc_of("half").ctc_lo(taught.encoded))
    assert not torch.equal(taught.logits, model.ctc.ctc_lo(taught.encoded))


def test_heads_are_fitted_to_another_table():
    plain, two = make_model(None).state_dict(), make_model().state_dict()
    states, copies = with_own_heads(plain, two)
    assert states.keys() == two.keys() and copies == two.keys() - plain.keys()
    for key in copies:
        assert torch.equal(states[key], plain[shared_key(key)])
    states, copies = with_own_heads(two, plain)
    assert states.keys() == plain.keys() and not copies


def test_an_rnnt_has_one_head_for_all():
    with pytest.raises(ConfigError, match=r"half.head: heads of their own are CTC heads"):
        make_model(ctc_weight=0.5, transducer=TRANSDUCERS["stateless"])
