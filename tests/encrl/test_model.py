"""The student's model: one draw for both, a teacher that stays as it is, gradients."""

import math

import pytest
import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.specaug.specaug import SpecAug

from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.encrl.model import SupernetEncRLModel
from espnet2_supernet.encrl.teacher import FrozenTeacher
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.features.log_mel import LogMelFrontend

torch.set_num_threads(1)
TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]
ONE = {"subnets": {"server": {"context": "full"}}}
SUBNETS = {"server": {"context": "full"}, "device": {"context": {"chunk_size": 4}}}


def make_student(tiny_model, specaug=False, dropout=0.0, num_blocks=1, **conf):
    torch.manual_seed(1)
    augment = None
    if specaug:
        augment = SpecAug(False, freq_mask_width_range=(2, 5), apply_time_mask=False)
    encoder = SupernetConformerEncoder(
        12, 16, 2, 32, num_blocks=num_blocks, dropout_rate=dropout, subsampling_channels=4
    )
    conf = {"supernet_conf": {"subnets": SUBNETS}} | conf
    model = SupernetEncRLModel(
        len(TOKENS), TOKENS, LogMelFrontend(n_mels=12), augment, None, None, encoder, None, None,
        CTC(len(TOKENS), 16), None, **conf,
    )  # fmt: skip
    model.set_teacher(FrozenTeacher(tiny_model(), "server"))
    return model


def batch(speech, lengths=(16000, 9000, 12000)):
    padded = torch.zeros(len(lengths), max(lengths))
    for i, n in enumerate(lengths):
        padded[i, :n] = torch.from_numpy(speech(n / 16000, seed=i))
    return {"speech": padded, "speech_lengths": torch.tensor(lengths)}


def test_the_loss_is_the_sum_of_its_terms(tiny_model, speech):
    weights = {"mse": 0.5, "clip": 2.0, "mae": 0.25, "kl": 3.0}
    table = {"subnets": SUBNETS, "loss_weights": {"server": 0.3, "device": 0.7}}
    model = make_student(tiny_model, losses=weights, supernet_conf=table)
    loss, stats, weight = model(**batch(speech))
    parts = {
        name: sum(w * stats[f"loss_{key}_{name}"] for key, w in weights.items()) for name in SUBNETS
    }
    for name, part in parts.items():
        torch.testing.assert_close(stats[f"loss_{name}"], part)
    torch.testing.assert_close(loss.detach(), 0.3 * parts["server"] + 0.7 * parts["device"])
    assert weight == 3 and all(0 <= stats[f"agreement_{name}"] <= 1 for name in SUBNETS)


@torch.no_grad()
def said_of_each(model, given):
    """Logits (T, V) and frames (T, D) of teacher and student, each utterance heard alone."""
    said = []
    for wave, length in zip(given["speech"], given["speech_lengths"].tolist(), strict=True):
        pair = []
        for one in (model.teacher.model, model):
            frames = one.encode(wave[None, :length], torch.tensor([length]), subnet="server")[0]
            pair.append((one.ctc.ctc_lo(frames)[0].double(), frames[0].double()))
        said.append(pair)
    return said


@pytest.mark.parametrize("outputs", ["log_softmax", "logits"])
def test_distances_are_those_of_the_configured_outputs(tiny_model, speech, outputs):
    weights = dict.fromkeys(("mse", "mae", "kl"), 1.0)
    model = make_student(tiny_model, losses=weights, outputs=outputs, supernet_conf=ONE)
    given = batch(speech)
    stats, expected = model(**given)[1], dict.fromkeys(weights, 0.0)
    for (theirs, _), (own, _) in said_of_each(model, given):
        logs = theirs.log_softmax(-1), own.log_softmax(-1)
        gap = theirs - own if outputs == "logits" else logs[0] - logs[1]
        expected["mse"] += gap.square().mean() / 3
        expected["mae"] += gap.abs().mean() / 3
        expected["kl"] += (logs[0].exp() * (logs[0] - logs[1])).sum(-1).mean() / 3
    for key, value in expected.items():
        found = stats[f"loss_{key}_server"].double().squeeze()
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("learnt", [False, True])
def test_clip_has_the_scale_that_is_set_or_learnt(tiny_model, speech, learnt):
    conf = {"scale": 0.3, "learn_scale": learnt}
    model = make_student(tiny_model, losses={"clip": 1.0}, clip=conf, supernet_conf=ONE)
    given = batch(speech)
    said = said_of_each(model, given)
    teacher, student = (torch.stack([pair[i][1].mean(0) for pair in said]) for i in range(2))

    def check(scale):
        scores = scale * (student @ teacher.T)
        own = scores.log_softmax(1).diagonal() + scores.log_softmax(0).diagonal()
        stats = model(**given)[1]
        found = stats["loss_clip_server"].double().squeeze()
        torch.testing.assert_close(found, -0.5 * own.mean(), rtol=1e-4, atol=1e-6)
        assert ("clip_scale" in stats) == learnt
        assert not learnt or float(stats["clip_scale"]) == pytest.approx(scale)

    check(0.3)
    if learnt:
        torch.nn.init.constant_(model.log_scale, math.log(0.6))
        check(0.6)


def test_padding_changes_nothing(tiny_model, speech):
    model = make_student(tiny_model, losses={"mse": 1.0, "kl": 1.0, "clip": 1.0})
    given = batch(speech)
    loss, stats, _ = model(**given)
    longer = torch.nn.functional.pad(given["speech"], (0, 6000), value=1.0)
    model.num_batches.zero_()
    again, again_stats, _ = model(longer, given["speech_lengths"])
    torch.testing.assert_close(again, loss, rtol=1e-5, atol=1e-6)
    for key, value in stats.items():
        torch.testing.assert_close(again_stats[key], value, rtol=1e-5, atol=1e-6)


def test_a_student_with_the_teachers_weights_has_nothing_to_learn(tiny_model, speech):
    model = make_student(tiny_model, num_blocks=2, losses={"mse": 1.0}, supernet_conf=ONE)
    states = {k: v for k, v in tiny_model().state_dict().items() if k in model.state_dict()}
    states = {k: v for k, v in states.items() if k.startswith(("encoder.", "ctc."))}
    model.load_state_dict(states, strict=False)
    loss, stats, _ = model.eval()(**batch(speech))
    assert float(loss.detach()) < 1e-9 and float(stats["agreement_server"]) == 1.0


def test_specaugment_is_drawn_once_for_both(tiny_model, speech, monkeypatch):
    heard = []
    encode = type(tiny_model()).encode_features
    monkeypatch.setattr(
        type(tiny_model()), "encode_features",
        lambda self, feats, *a, **k: heard.append(feats.clone()) or encode(self, feats, *a, **k),
    )  # fmt: skip
    model = make_student(tiny_model, specaug=True).train()
    model.encoder.subsampling.register_forward_pre_hook(lambda m, args: heard.append(args[0]))
    model(**batch(speech))
    taught, learnt = heard
    torch.testing.assert_close(taught[:, : learnt.size(1)], learnt, rtol=0, atol=0)
    assert (learnt == 0).all(1).any(), "something was masked"
    heard.clear()
    model = make_student(tiny_model, specaug=True, clean_teacher=True).train()
    model.encoder.subsampling.register_forward_pre_hook(lambda m, args: heard.append(args[0]))
    model(**batch(speech))
    assert (heard[1] == 0).all(1).any() and not (heard[0] == 0).all(1).any()


def test_the_teacher_stays_as_it_is(tiny_model, speech):
    model = make_student(tiny_model, dropout=0.3)
    teacher = model.teacher.model
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model.train()
        optimizer.zero_grad()
        model(**batch(speech))[0].backward()
        optimizer.step()
        assert not teacher.training and not any(m.training for m in teacher.modules())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert not any("teacher" in key for key in [*model.state_dict(), *dict(model.named_modules())])


@pytest.mark.parametrize("losses", [{"mse": 1.0}, {"clip": 1.0}, {"kl": 1.0}])
@pytest.mark.parametrize("sequential", [False, True])
def test_every_parameter_has_a_gradient(tiny_model, speech, losses, sequential):
    table = {"subnets": SUBNETS, "sequential_backward": sequential}
    model = make_student(
        tiny_model, losses=losses, clip={"learn_scale": True}, supernet_conf=table
    ).train()
    model(**batch(speech))[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_normalised_clip_does_not_depend_on_lengths_of_vectors(tiny_model, speech):
    model = make_student(tiny_model, losses={"clip": 1.0}, clip={"normalize": True, "scale": 5.0})
    stats = model(**batch(speech))[1]
    with torch.no_grad():
        model.encoder.norm.weight.mul_(3.0)
        model.encoder.norm.bias.mul_(3.0)
    torch.testing.assert_close(
        model(**batch(speech))[1]["loss_clip_server"], stats["loss_clip_server"]
    )


def test_what_cannot_be_learnt_is_refused(tiny_model, speech):
    model = make_student(tiny_model)
    with pytest.raises(DataError, match="only one, 'alone': enlarge batch_size or batch_bins"):
        model(**batch(speech, (16000,)), utt_id=["alone"])
    model.teacher = None
    with pytest.raises(ConfigError, match="no teacher: train it with encrl_train"):
        model(**batch(speech))
    rnnt = {"transducer": {"predictor": "stateless"}, "ctc_weight": 0.5}
    with pytest.raises(ConfigError, match="transducer would not be trained"):
        make_student(tiny_model, **rnnt)
    with pytest.raises(ConfigError, match="copies the outputs of a CTC head"):
        make_student(tiny_model, **rnnt | {"ctc_weight": 0.0})
    with pytest.raises(ConfigError, match="subnets.server.tokens: .* all frames"):
        table = {"server": {"tokens": {"kind": "downsample"}}}
        make_student(tiny_model, supernet_conf={"subnets": table})
    with pytest.raises(DataError, match="needs the transcripts"):
        make_student(tiny_model, losses={"mse": 1.0, "asr": 1.0})(**batch(speech))


def test_a_row_with_its_own_head_copies_the_teacher_with_it(tiny_model, speech):
    rows = SUBNETS | {"device": SUBNETS["device"] | {"head": "own"}}
    model = make_student(tiny_model, supernet_conf={"subnets": rows})
    model.supernet_config.loss_weights.update(server=0.0, device=1.0)
    model(**batch(speech))[0].backward()
    assert model.ctc_of("device").ctc_lo.weight.grad.abs().sum() > 0
    assert model.ctc.ctc_lo.weight.grad.abs().sum() == 0
