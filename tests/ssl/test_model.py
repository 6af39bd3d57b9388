"""The joint model: what is shared, which gradients go where, and awkward batches."""

import pytest
import torch

from tiny_models import gradients, prune_half

torch.set_num_threads(1)


def test_the_loss_is_the_sum_of_its_terms(make_model, batch):
    conf = {"loss_weights": {"server": 0.3, "device": 0.7}}
    model = make_model(conf, loss_weights=(0.2, 3.0))
    loss, stats, weight = model(**batch())
    contrastive = 0.3 * stats["loss_server"] + 0.7 * stats["loss_device"]
    rest = 0.3 * 0.2 * stats["loss_diversity"] + 3.0 * stats["loss_penalty"]
    torch.testing.assert_close(loss.detach(), contrastive + rest)
    assert stats["loss_server"] != stats["loss_device"]
    assert {"accuracy_server", "accuracy_device", "code_perplexity_0", "code_perplexity_1"} <= set(
        stats
    )
    assert stats["temperature"] == 2.0 and 0.2 < stats["masked"] < 0.8
    frames = 37 + 18 + 30
    assert weight == round(float(stats["masked"]) * frames)


def test_everything_is_made_once_for_all_subnets(monkeypatch, make_model, batch):
    from espnet2_supernet.ssl import model as module

    calls = []
    draw = module.Plan.draw
    monkeypatch.setattr(module.Plan, "draw", lambda *a: calls.append("plan") or draw(*a))
    model = make_model()
    for name in ("frontend", "encoder.subsampling", "heads.quantizer", "heads.project_q"):
        hook = lambda *_, name=name: calls.append(name)  # noqa: E731
        model.get_submodule(name).register_forward_hook(hook)
    model(**batch())
    assert sorted(calls) == sorted(
        ["plan", "frontend", "encoder.subsampling", "heads.quantizer", "heads.project_q"]
    )


def test_streaming_losses_do_not_move_the_targets(make_model, batch):
    """Quantiser and target projection learn as if the full-context subnet were alone."""
    found = {}
    for detach in (True, False):
        model = make_model(detach_streaming_targets=detach)
        model(**batch())[0].backward()
        found[detach] = gradients(model)
    alone = make_model({"subnets": {"server": {"context": "full"}}})
    # half the weight, as in the pair
    alone.supernet_config.loss_weights["server"] = 0.5
    alone(**batch())[0].backward()
    expected = gradients(alone)
    for name in ("project_q.weight", "quantizer.codebooks", "quantizer.weight_proj.weight"):
        key = f"heads.{name}"
        torch.testing.assert_close(found[True][key], expected[key])
        assert (found[False][key] - expected[key]).abs().max() > 1e-5, name
    for key in ("heads.final_proj.weight", "heads.mask_emb", "encoder.subsampling.linear.weight"):
        assert (found[True][key] - expected[key]).abs().max() > 1e-5, key


def test_diversity_weighs_beside_what_teaches_the_quantiser(make_model, batch):
    """A streaming subnet that shares the loss does not change how hard the codes are spread."""
    found = {}
    for name, conf in {
        "alone": {"subnets": {"server": {"context": "full"}}},
        "pair": {"loss_weights": {"server": 0.25, "device": 0.75}},
    }.items():
        model = make_model(conf, loss_weights=(0.5, 0.0))
        model(**batch())[0].backward()
        found[name] = model.heads.quantizer.weight_proj.weight.grad
    assert found["alone"].abs().max() > 1e-5
    torch.testing.assert_close(found["pair"], 0.25 * found["alone"])


def test_a_streaming_subnet_alone_teaches_the_quantiser(make_model, batch, device):
    model = make_model({"subnets": {"device": device}}, loss_weights=(0.0, 0.0))
    model(**batch())[0].backward()
    assert model.heads.quantizer.codebooks.grad.abs().sum() > 0


def test_every_parameter_has_a_gradient_when_only_streaming_subnets_are_drawn(
    make_model, batch, device
):
    conf = {"sampling": {"always": ["device"], "extra": 1}}
    conf["subnets"] = {"server": {"context": "full"}, "device": device, "watch": device}
    model = make_model(conf)
    for _ in range(20):
        names = [
            subnet.name for subnet, *_ in model.supernet.sample_subnets(int(model.num_batches))
        ]
        model.zero_grad()
        model(**batch())[0].backward()
        assert all(p.grad is not None for p in model.parameters())
        if "server" not in names:
            assert model.heads.project_q.weight.grad.abs().max() == 0
            return
    pytest.fail("the full-context subnet was always drawn")


def test_pruned_weights_learn_from_the_dense_subnet_only(make_model, batch, device):
    for conf, learns in ((None, True), ({"subnets": {"device": device}}, False)):
        model = make_model(conf)
        prune_half(model)
        model(**batch())[0].backward()
        grad = model.encoder.blocks[0].feed_forward.linear_in.weight.grad
        assert bool(grad[:, ::2].abs().sum() > 0) == learns
        assert grad[:, 1::2].abs().sum() > 0


def test_masked_frames_reach_the_targets_only(make_model):
    """What lies under the mask is seen by the quantiser and by no subnet."""
    model = make_model(mask_min_masks=1)
    frames = torch.randn(1, 30, 16, requires_grad=True)
    plan = model._draw_plan(["a"], torch.tensor([30]), 0)
    masked = model.heads.mask(frames, plan)
    encoded, _ = model.encoder.encode_frames(masked, torch.tensor([30]))
    (grad,) = torch.autograd.grad(encoded.square().sum(), frames)
    assert (grad[plan.mask] == 0).all() and (grad[~plan.mask].abs().sum(-1) > 0).all()
    _, targets = model.heads.targets(frames, plan)
    (grad,) = torch.autograd.grad(targets.square().sum(), frames)
    assert (grad[~plan.mask] == 0).all() and (grad[plan.mask].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("detach", [True, False])
def test_sequential_backward_gives_the_same_gradients(detach, make_model, batch):
    results = []
    for sequential in (False, True):
        conf = {"sequential_backward": sequential}
        model = make_model(conf, detach_streaming_targets=detach, loss_weights=(0.1, 1.0))
        prune_half(model)
        loss, stats, _ = model(**batch())
        loss.backward()
        results.append((loss.detach(), stats, gradients(model)))
    (loss, stats, expected), (loss2, stats2, found) = results
    torch.testing.assert_close(loss, loss2)
    assert set(stats) == set(stats2) and expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4)


def test_padding_and_other_utterances_change_nothing(make_model, batch):
    model = make_model(feature_grad_mult=0.1)
    whole, parts = batch(), []
    loss, stats, weight = model(**whole)
    for row in range(3):
        model.num_batches.zero_()
        length = int(whole["speech_lengths"][row])
        noisy = torch.cat([whole["speech"][row, :length], torch.full((5000,), 9.0)])
        alone = {"speech": noisy[None], "speech_lengths": torch.tensor([length])}
        _, told, n = model(**alone, utt_id=whole["utt_id"][row : row + 1])
        parts.append((told, n))
    assert sum(n for _, n in parts) == weight
    for key in ("loss_server", "loss_device", "accuracy_server", "accuracy_device"):
        mean = sum(told[key] * n for told, n in parts) / weight
        torch.testing.assert_close(mean.float(), stats[key].float(), atol=1e-5, rtol=1e-4)


def test_draws_follow_the_batch_number_and_survive_a_checkpoint(make_model, batch):
    def losses(model, n):
        return [float(model(**batch())[1]["loss"]) for _ in range(n)]

    whole = losses(make_model(), 5)
    first = make_model()
    start = losses(first, 2)
    second = make_model()
    second.load_state_dict(first.state_dict())
    assert start + losses(second, 3) == whole and len(set(whole)) == 5
    assert losses(first.eval(), 2) == [losses(first, 1)[0]] * 2, "validation repeats itself"


def chirps():
    """Four tones of slowly changing frequency: what is masked can be guessed from the rest."""
    seconds, rows = torch.arange(24000) / 16000, []
    for i in range(4):
        sweep = torch.sin(2 * torch.pi * (0.5 + 0.3 * i) * seconds)
        frequency = 400 + 600 * (1 + i % 3) * (1 + sweep)
        rows.append(0.3 * torch.sin(2 * torch.pi * frequency.cumsum(0) / 16000))
    return torch.stack(rows)


def train(model, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    model.heads.quantizer.attach(optimizer)
    speech, lengths, told = chirps(), torch.full((4,), 24000), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss, stats, _ = model(speech, lengths, ["a", "b", "c", "d"])
        loss.backward()
        optimizer.step()
        told.append(stats)
    return told


def test_both_subnets_learn(make_model):
    model = make_model(num_negatives=5)
    told = train(model, 80)
    for name in ("server", "device"):  # chance: 1 / 6
        assert sum(float(stats[f"accuracy_{name}"]) for stats in told[-15:]) / 15 > 0.3
    assert int(model.heads.quantizer.num_updates) == 80 and told[-1]["temperature"] < 2
    assert model.epoch_warnings(told[-1]) == []


@pytest.mark.parametrize("encoder", ["transformer", "conformer"])
def test_the_pretrained_encoder_streams(encoder, make_model, batch):
    model = make_model(encoder=encoder, dropout=0.1)
    train(model, 3)
    model.eval()
    prune_half(model)
    data = batch((12000,))
    with model.supernet.active_subnet("device") as subnet, torch.no_grad():
        feats, lengths = model.extract_features(data["speech"], data["speech_lengths"])
        masked, _, _ = model.encoder(feats, lengths, context=subnet.context)
        state, pieces = model.encoder.init_state(subnet.context), []
        for piece in feats.split(7, dim=1):
            out, state = model.encoder.stream(piece, state)
            pieces.append(out)
        pieces.append(model.encoder.stream(feats[:, :0], state, is_final=True)[0])
    torch.testing.assert_close(torch.cat(pieces, dim=1), masked, atol=1e-4, rtol=0)
