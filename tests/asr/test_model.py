"""The joint model: what is shared, what is separate, what reaches which weights."""

import pytest
import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.specaug.specaug import SpecAug

from espnet2_supernet.asr.error_rate import greedy_error_rates
from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.features.log_mel import LogMelFrontend
from tiny_models import gradients, prune_half

torch.set_num_threads(1)

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "<sos/eos>"]
MASK = {"pattern": "elementwise", "sparsity": 0.5}
DEVICE = {"context": {"chunk_size": 4, "left_context": 4}, "mask": MASK}
SUPERNET = {"subnets": {"server": {"context": "full"}, "device": DEVICE}}
TRANSDUCER = {
    "predictor": "stateless",
    "predictor_conf": {"embed_size": 8},
    "joint_space_size": 8,
}


def make_model(supernet_conf=None, dropout=0.0, **kwargs) -> SupernetASRModel:
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, dropout_rate=dropout, subsampling_channels=4
    )
    parts = dict.fromkeys(["preencoder", "postencoder", "decoder", "joint_network", "normalize"])
    parts |= {"specaug": None, "ctc": CTC(len(TOKENS), 16), "frontend": LogMelFrontend(n_mels=20)}
    return SupernetASRModel(
        len(TOKENS), TOKENS, encoder=encoder, supernet_conf=supernet_conf or SUPERNET,
        **(parts | kwargs),
    )  # fmt: skip


def batch(size=3):
    torch.manual_seed(1)
    text = torch.tensor([[2, 3, 4], [4, -1, -1], [2, 2, -1]])
    return {
        "speech": torch.randn(3, 8000)[:size],
        "speech_lengths": torch.tensor([8000, 5000, 6400])[:size],
        "text": text[:size],
        "text_lengths": torch.tensor([3, 1, 2])[:size],
    }


def test_loss_is_the_weighted_sum_of_the_subnets():
    model = make_model(SUPERNET | {"loss_weights": {"server": 0.3, "device": 0.7}})
    loss, stats, weight = model(**batch())
    assert set(stats) == {
        "loss",
        "loss_server",
        "loss_device",
        "loss_ctc_server",
        "loss_ctc_device",
    }
    torch.testing.assert_close(loss, 0.3 * stats["loss_server"] + 0.7 * stats["loss_device"])
    assert stats["loss_server"] != stats["loss_device"]
    assert weight == 3


def test_pruned_weights_learn_from_the_dense_subnet_only():
    model = make_model({"subnets": {"device": DEVICE}})
    prune_half(model)
    model(**batch())[0].backward()
    layer = model.encoder.blocks[0].feed_forward.linear_in
    assert (layer.weight.grad[:, ::2] == 0).all() and layer.weight.grad[:, 1::2].abs().sum() > 0
    dense = make_model()
    prune_half(dense)
    dense(**batch())[0].backward()
    assert dense.encoder.blocks[0].feed_forward.linear_in.weight.grad[:, ::2].abs().sum() > 0


@pytest.mark.parametrize(
    ("ctc_weight", "distill"), [(1.0, 0.0), (0.3, 0.0), (0.0, 0.0), (1.0, 0.5), (0.3, 0.5)]
)
def test_sequential_backward_gives_the_same_gradients(ctc_weight, distill):
    transducer = TRANSDUCER if ctc_weight < 1 else None
    results = []
    for sequential in (False, True):
        conf = SUPERNET | {"sequential_backward": sequential, "distillation": {"weight": distill}}
        model = make_model(conf, ctc_weight=ctc_weight, transducer=transducer)
        prune_half(model)
        loss, stats, _ = model(**batch())
        loss.backward()
        results.append((loss.detach(), stats, gradients(model)))
    (loss, stats, expected), (loss2, stats2, found) = results
    torch.testing.assert_close(loss, loss2)
    assert set(stats) == set(stats2) and expected.keys() == found.keys()
    assert ("loss_distill_device" in stats) == (distill > 0)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4)


def test_distillation_does_not_move_its_teacher():
    """With norms of their own, the teacher's get the same gradient with and without pupils."""
    found = []
    for weight in (0.0, 10.0):
        conf = {"distillation": {"weight": weight}, "layer_norm": "per_subnet"}
        model = make_model(SUPERNET | conf)
        model(**batch())[0].backward()
        norm = model.encoder.norm
        found.append((norm.weight.grad, norm.private("device").weight.grad))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert (found[0][1] - found[1][1]).abs().max() > 1e-4


def test_features_are_augmented_once_for_all_subnets():
    model = make_model(specaug=SpecAug(apply_time_warp=False, time_mask_width_range=(0, 5)))
    calls = []
    model.specaug.register_forward_hook(lambda *_: calls.append(1))
    model(**batch())
    assert len(calls) == 1
    model.eval()
    model(**batch())
    assert len(calls) == 1


def test_masked_features_hold_the_mean():
    class Shift(torch.nn.Module):
        def forward(self, x, lengths):
            return x + 100.0, lengths

    specaug = SpecAug(
        apply_time_warp=False, apply_time_mask=False, freq_mask_width_range=(5, 6), num_freq_mask=1
    )
    model = make_model(specaug=specaug, normalize=Shift())
    feats, _ = model.extract_features(torch.randn(1, 8000), torch.tensor([8000]))
    assert int((feats[0] == 0).all(dim=0).sum()) == 5


def test_validation_reports_error_rates_of_every_subnet():
    model = make_model().eval()
    with torch.no_grad():
        _, stats, _ = model(**batch())
    assert {"cer_server", "cer_device", "wer_server", "wer_device"} <= set(stats)


def test_contexts_are_drawn_by_step_and_survive_a_checkpoint():
    device = {"context": {"chunk_size": [2, 4, 8], "left_context": 4}}
    conf = {"subnets": {"server": {"context": "full"}, "device": device}}

    def losses(model, n):
        return [float(model(**batch())[1]["loss_device"]) for _ in range(n)]

    whole = losses(make_model(conf), 8)
    first = make_model(conf)
    start = losses(first, 3)
    second = make_model(conf)
    second.load_state_dict(first.state_dict())
    assert start + losses(second, 5) == whole
    assert len(set(whole)) == 3


def test_batch_composition_changes_no_utterance():
    model = make_model().eval()
    data = batch()
    with torch.no_grad():
        for name in ("server", "device"):
            out, lengths = model.encode(data["speech"], data["speech_lengths"], name)
            alone, n = model.encode(data["speech"][1:2, :5000], torch.tensor([5000]), name)
            assert lengths[1] == n[0]
            torch.testing.assert_close(out[1, : n[0]], alone[0], atol=1e-4, rtol=0)


def test_collect_feats_and_unknown_subnet():
    model, data = make_model(), batch()
    feats = model.collect_feats(**data)
    assert feats["feats"].shape[2] == 20 and feats["feats_lengths"].tolist() == [48, 29, 38]
    with pytest.raises(ConfigError, match="server, device"):
        model.encode(data["speech"], data["speech_lengths"], "phone")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"ctc_weight": 0.5}, "set model_conf.transducer"),
        ({"ctc_weight": 2.0}, "between 0 and 1"),
        ({"transducer": TRANSDUCER}, "never be trained"),
        ({"ctc_weight": 0.5, "transducer": {"predictor": "rnnn"}}, "rnn or stateless"),
        ({"ctc_weight": 0.5, "transducer": {"joint_size": 3}}, "joint_space_size"),
        ({"ctc_weight": 0.5, "transducer": {"predictor_conf": {"embed_siz": 3}}}, "embed_size"),
        ({"decoder": torch.nn.Identity()}, "takes no"),
    ],
)
def test_parts_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        make_model(**kwargs)


def test_distillation_needs_ctc():
    conf = SUPERNET | {"distillation": {"weight": 1.0}}
    with pytest.raises(ConfigError, match="CTC"):
        make_model(conf, ctc_weight=0.0, transducer=TRANSDUCER)


def test_more_tokens_than_frames_counts_zero():
    model, data = make_model(), batch(1)
    data["text"], data["text_lengths"] = torch.full((1, 60), 2), torch.tensor([60])
    loss, _, _ = model(**data)
    assert loss == 0 and loss.isfinite()


def test_error_rates():
    path = torch.tensor([[2, 2, 0, 2, 3, 3]])  # A A B
    log_probs = torch.nn.functional.one_hot(path, 6).float()
    args = (torch.tensor([6]), torch.tensor([[2, 3, 0]]), torch.tensor([2]))
    chars = ["<blank>", "<unk>", "A", "B", "<space>", "<sos/eos>"]
    assert greedy_error_rates(log_probs, *args, chars) == {"cer": 0.5, "wer": 1.0}
    # words as tokens: one inserted among two
    assert greedy_error_rates(log_probs, *args, TOKENS)["wer"] == 0.5


@pytest.mark.parametrize("utt_id, name", [(["a", "b", "c"], "'b'"), (None, "1 of the batch")])
def test_an_utterance_without_a_frame_is_named(utt_id, name):
    given = batch() | {"speech_lengths": torch.tensor([8000, 300, 6400]), "utt_id": utt_id}
    with pytest.raises(DataError, match=f"utterance {name} is shorter than one encoder frame"):
        make_model()(**given)
