"""wav2vec 2.0 from the waveform: what differs from log-mel features."""

import copy

import pytest
import torch

from espnet2_supernet.encoder import SupernetWav2Vec2Encoder
from espnet2_supernet.features.waveform_conv import WaveformConvFrontend
from espnet2_supernet.ssl.model import SupernetSSLModel

torch.set_num_threads(1)

LAYERS = [[6, 10, 5], *[[6, 3, 2]] * 4, *[[6, 2, 2]] * 2]
LAYER = {"norm": "layer", "conv_bias": True}
DEVICE = {
    "context": {"chunk_size": 8, "left_context": 8},
    "mask": {"pattern": "elementwise", "sparsity": 0.5},
}
TABLE = {"subnets": {"server": {"context": "full"}, "device": DEVICE}}


def make(frontend=None, supernet=None, **conf):
    torch.manual_seed(0)
    options = {"mask_length": 4, "final_dim": 8, "latent_vars": 8, "num_negatives": 10}
    rates = {name: 0.0 for name in ("dropout_rate", "attention_dropout_rate", "input_dropout_rate")}
    return SupernetSSLModel(
        WaveformConvFrontend(conv_feature_layers=LAYERS, **(frontend or {})),
        None,
        SupernetWav2Vec2Encoder(6, 16, 2, 32, 2, conv_pos=8, conv_pos_groups=4, **rates),
        TABLE | (supernet or {}),
        **(options | {"dropout_features": 0.0} | conf),
    )


@pytest.mark.parametrize(
    ("frontend", "calls"), [({}, 2), (LAYER, 1), (LAYER | {"normalize_input": True}, 2)]
)
def test_features_are_computed_once_for_each_kind(frontend, calls, batch):
    model, seen = make(frontend), []
    model.frontend.register_forward_hook(lambda *_: seen.append("frontend"))
    model.heads.quantizer.register_forward_hook(lambda *_: seen.append("quantizer"))
    _, stats, _ = model(**batch())
    assert seen.count("frontend") == calls and seen.count("quantizer") == 1
    assert stats["loss_server"] != stats["loss_device"]


def test_the_full_context_subnet_does_not_notice_the_other(batch):
    """Its features, targets and loss are those it has alone."""
    pair, alone = make(), make(supernet={"subnets": {"server": {"context": "full"}}})
    found, expected = pair(**batch())[1], alone(**batch())[1]
    for key in ("loss_server", "loss_diversity", "loss_penalty", "code_perplexity_0"):
        torch.testing.assert_close(found[key], expected[key])


def test_a_streaming_subnet_alone_has_targets_without_look_ahead(batch):
    model = make(supernet={"subnets": {"device": DEVICE}}, mask_prob=0.3).eval()
    data = batch((24000,), ids=["a"])
    changed = copy.deepcopy(data)
    changed["speech"][:, 12000:] = torch.randn(12000)
    chosen = []
    model.heads.quantizer.register_forward_hook(lambda _, __, out: chosen.append(out.codes))
    for one in (data, changed):
        model(**one)
    plan = model._draw_plan(["a"], torch.tensor([74]), 0)
    before = plan.mask.nonzero()[:, 1] < (12000 - 400) // 320
    assert before.any() and torch.equal(chosen[0][before], chosen[1][before])
    assert not torch.equal(*chosen)


def test_an_utterance_has_the_same_loss_in_any_batch(batch):
    model = make().eval()
    data = batch((24000, 12000), ids=["a", "b"])
    alone = {k: v[1:] for k, v in data.items()}
    alone["speech"] = alone["speech"][:, :12000]
    both = {k: v for k, v in data.items()}
    with torch.no_grad():
        first = {k: v[:1] for k, v in data.items()}
        parts = [model(**one) for one in (first, alone)]
        whole = model(**both)
    weights = [float(part[2]) for part in parts]
    for name in ("loss_server", "loss_device"):
        mean = sum(w * float(p[1][name]) for w, p in zip(weights, parts, strict=True))
        assert mean / sum(weights) == pytest.approx(float(whole[1][name]), abs=1e-4)


@pytest.mark.parametrize("sequential", [False, True])
def test_gradients_reach_everything_and_are_scaled_at_the_features(sequential, batch):
    found = {}
    for factor in (1.0, 0.1):
        model = make(
            supernet={"sequential_backward": sequential},
            feature_grad_mult=factor,
            loss_weights=(0.1, 10.0),
        )
        model(**batch())[0].backward()
        assert all(p.grad is not None for p in model.parameters())
        found[factor] = {n: p.grad for n, p in model.named_parameters()}
    key = "frontend.convs.0.weight"
    torch.testing.assert_close(found[0.1][key], 0.1 * found[1.0][key], atol=1e-7, rtol=1e-3)
    key = "encoder.subsampling.linear.weight"
    torch.testing.assert_close(found[0.1][key], found[1.0][key])


def test_the_loss_falls_and_the_encoder_streams(batch):
    model, data = make(loss_weights=(0.1, 1.0)), batch((12000, 9000))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    told = []
    for _ in range(25):
        loss, _, _ = model(**data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told.append(float(loss.detach()))
    assert sum(told[-5:]) < 0.9 * sum(told[:5])
    model.eval()
    with model.supernet.active_subnet("device") as subnet, torch.no_grad():
        wav, length = data["speech"][:1], data["speech_lengths"][:1]
        feats = model.extract_features(wav, length, streaming=True)
        masked, _, _ = model.encoder(*feats, context=subnet.context)
        twin, state = model.frontend.streaming(), model.encoder.init_state(subnet.context)
        pieces = []
        for piece in wav[0].split(700):
            out, state = model.encoder.stream(twin.accept(piece)[None], state)
            pieces.append(out)
        pieces.append(model.encoder.stream(twin.finish()[None], state, is_final=True)[0])
    torch.testing.assert_close(torch.cat(pieces, dim=1), masked, atol=1e-4, rtol=0)
