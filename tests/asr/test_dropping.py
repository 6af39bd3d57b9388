"""The recogniser with subnets that drop frames: losses, statistics, what learns."""

import pytest
import torch
from espnet2.asr.ctc import CTC

from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetWav2Vec2Encoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.train.monitor import count_weights

torch.set_num_threads(1)

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "<sos/eos>"]
TRANSDUCER = {
    "predictor": "stateless", "predictor_conf": {"embed_size": 8}, "joint_space_size": 8
}  # fmt: skip
CHUNKS = {"chunk_size": 4, "left_context": 4}


def make_model(tokens=None, ctc_weight=0.5, encoder=None, detector=None, row=None, **conf):
    torch.manual_seed(0)
    encoder = encoder or SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, dropout_rate=0.1, subsampling_channels=4
    )
    table = {"server": {"context": "full"}, "device": {"context": CHUNKS, "tokens": tokens}}
    table["device"].update(row or {})
    model = SupernetASRModel(
        len(TOKENS), TOKENS, LogMelFrontend(n_mels=20), None, None, None, encoder, None, None,
        CTC(len(TOKENS), 16), None, {"subnets": table, **conf}, ctc_weight,
        TRANSDUCER if ctc_weight < 1 else None, detector=detector,
    )  # fmt: skip
    if model.detector is not None:
        centre(model)
    return model


@torch.no_grad()
def centre(model):
    """Let the detector keep about half of the frames of the batch."""
    feats, lengths = model.frontend(*list(batch().values())[:2])
    scores, _ = model.detector(model.encoder.eval().subsampled(feats, lengths)[0])
    model.encoder.train()
    model.detector.threshold.fill_(0.5)
    model.detector.linear_out.bias.sub_(scores.median())


def batch():
    torch.manual_seed(1)
    return {
        "speech": torch.randn(3, 8000),
        "speech_lengths": torch.tensor([8000, 5000, 6400]),
        "text": torch.tensor([[2, 3, 4], [4, -1, -1], [2, 2, -1]]),
        "text_lengths": torch.tensor([3, 1, 2]),
    }


SPECS = {
    "salad": {"kind": "salad"},
    "downsample": {"kind": "downsample"},
    "random": {"kind": "random", "keep_ratio": 0.5, "positions": "compacted"},
    "energy": {"kind": "energy", "threshold": 7.15},
    "later": {"kind": "salad", "before_block": 2},
    "restored": {"kind": "downsample", "restore_before_block": 2},
    "changed": {"kind": "salad", "restore_before_block": 2, "restored": "last_change"},
}


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("ctc_weight", [1.0, 0.5, 0.0])
def test_losses_of_both_heads_and_the_keep_ratio(kind, ctc_weight):
    model = make_model(SPECS[kind], ctc_weight)
    loss, stats, _ = model(**batch())
    loss.backward()
    assert loss.isfinite() and 0 < float(stats["keep_ratio_device"]) < 1
    assert "keep_ratio_server" not in stats
    grads = [n for n, p in model.named_parameters() if p.grad is not None]
    assert grads and not any(n.startswith("detector.") for n in grads)


@torch.no_grad()
def check_ctc_loss(model):
    """Compare the loss of ``device`` with that of its outputs; frames, sizes, times, statistics."""
    data = batch()
    _, stats, _ = model(**data)
    feats, lengths = model.extract_features(data["speech"], data["speech_lengths"])
    out, sizes, times = model.encode_with_times(feats, lengths, "device")
    losses = torch.nn.functional.ctc_loss(
        model.ctc.log_softmax(out).transpose(0, 1), data["text"].clamp(min=0), sizes,
        data["text_lengths"], reduction="none",
    )  # fmt: skip
    torch.testing.assert_close(stats["loss_ctc_device"][0], losses.mean())
    return lengths // 4, sizes, times, stats


def test_the_loss_is_that_of_the_frames_kept():
    frames, kept, times, stats = check_ctc_loss(make_model(SPECS["downsample"], 1.0).eval())
    for row, n in zip(times, kept, strict=True):
        assert row[:n].tolist() == list(range(0, 2 * int(n), 2))
    assert stats["keep_ratio_device"] == kept.sum() / frames.sum()
    assert "cer_device" in stats


def test_the_loss_is_that_of_all_frames_if_they_come_back():
    frames, sizes, times, stats = check_ctc_loss(make_model(SPECS["restored"], 1.0).eval())
    assert times is None and sizes.tolist() == frames.tolist()
    kept = -(-sizes // 2)
    assert stats["keep_ratio_device"] == kept.sum() / sizes.sum()


def test_training_keeps_no_more_for_ctc_if_frames_come_back():
    spec = {"kind": "energy", "threshold": 1e6, "restore_before_block": 2}
    model = make_model(spec, 1.0).train()
    data = batch() | {"text": torch.tensor([[2, 2, 3, 3, 4, 4, 2, 3, 4]] * 3)}
    data["text_lengths"] = torch.tensor([9, 1, 3])
    _, stats, _ = model(**data)
    assert float(stats["keep_ratio_device"]) == pytest.approx(3 / (12 + 7 + 9), abs=0.02)
    assert float(stats["loss_ctc_device"]) > 0


def test_training_keeps_what_ctc_needs():
    """Of 12 frames one or two would be left; 9 labels with 3 repeats need 12."""
    model = make_model({"kind": "energy", "threshold": 1e6}, 1.0).train()
    data = batch() | {"text": torch.tensor([[2, 2, 3, 3, 4, 4, 2, 3, 4]] * 3)}
    data["text_lengths"] = torch.tensor([9, 1, 3])
    kept = []
    original = model.encoder.encode_frames
    model.encoder.encode_frames = lambda *a: kept.append(original(*a)) or kept[-1]
    _, stats, _ = model(**data)
    assert kept[1][1].tolist() == [12, 1, 4]
    assert float(stats["loss_ctc_device"]) > 0


def test_batch_composition_changes_no_utterance():
    model, data = make_model({"kind": "salad", "positions": "original"}).eval(), batch()
    with torch.no_grad():
        together, lengths = model.encode(data["speech"], data["speech_lengths"], "device")
        for i, samples in enumerate(data["speech_lengths"].tolist()):
            alone, n = model.encode(
                data["speech"][i : i + 1, :samples], torch.tensor([samples]), "device"
            )
            assert n[0] == lengths[i]
            torch.testing.assert_close(together[i, : n[0]], alone[0], atol=1e-4, rtol=0)


def test_the_block_before_which_frames_are_dropped_must_run():
    later = SPECS["downsample"] | {"before_block": 2}
    with pytest.raises(ConfigError, match="device.tokens.before_block: 3, but .* runs 2 blocks"):
        make_model(later | {"before_block": 3})
    with pytest.raises(ConfigError, match="device.tokens.before_block: 2, but .* runs 1 blocks"):
        make_model(later, row={"depth": 1})
    with pytest.raises(ConfigError, match="restore_before_block: 3, but .* runs 2 blocks"):
        make_model(SPECS["restored"] | {"restore_before_block": 3})
    layers = {"pattern": {"structured": {"kinds": ["layers"]}}, "sparsity": 0.5}
    with pytest.raises(ConfigError, match="before_block: the subnet's mask prunes layers"):
        make_model(later, row={"mask": layers})
    with pytest.raises(ConfigError, match="restore_before_block: the subnet's mask prunes layers"):
        make_model(SPECS["restored"], row={"mask": layers})


def test_before_block_one_is_the_rule_without_it():
    plain, told = (make_model(SPECS["salad"] | one).eval() for one in ({}, {"before_block": 1}))
    assert plain.supernet_config == told.supernet_config
    with torch.no_grad():
        assert plain(**batch())[0] == told(**batch())[0]


@pytest.mark.parametrize("kind", ["downsample", "restored", "changed"])
def test_the_teacher_is_compared_at_the_frames_that_have_outputs(kind):
    model = make_model(SPECS[kind], 1.0, distillation={"weight": 0.5}).train()
    loss, stats, _ = model(**batch())
    assert loss.isfinite() and float(stats["loss_distill_device"]) > 0


@pytest.mark.parametrize("ctc_weight", [1.0, 0.5])
def test_sequential_backward_gives_the_same_gradients(ctc_weight):
    found = []
    for sequential in (False, True):
        model = make_model(SPECS["salad"], ctc_weight, sequential_backward=sequential)
        model.encoder.dropout.rate = 0.0
        for module in model.modules():
            if hasattr(module, "rate"):
                module.rate = 0.0
        model.train()
        model(**batch())[0].backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, atol=1e-6, rtol=1e-4)


def test_the_detector_travels_in_the_checkpoint_and_counts_for_its_subnet():
    model = make_model(SPECS["salad"], detector={"channels": 8, "kernel_size": 3})
    keys = {key for key in model.state_dict() if key.startswith("detector.")}
    assert {"detector.threshold", "detector.convolutions.1.weight"} <= keys
    size = sum(p.numel() for p in model.detector.parameters())
    server, device = (count_weights(model, name)["parameters"] for name in ("server", "device"))
    assert size > 0 and device - server == size
    assert make_model(SPECS["downsample"]).detector is None


def test_no_rule_costs_nothing():
    plain, none = make_model().eval(), make_model({"kind": "none"}).eval()
    assert plain.state_dict().keys() == none.state_dict().keys()
    with torch.no_grad():
        results = [m(**batch())[0] for m in (plain, none)]
    assert results[0] == results[1]


def test_positions_of_wav2vec2_are_compacted():
    def encoder():
        return SupernetWav2Vec2Encoder(20, 16, 2, 32, num_blocks=1, conv_pos=8, conv_pos_groups=4)

    with pytest.raises(ConfigError, match="write positions: compacted"):
        make_model(SPECS["downsample"], encoder=encoder())
    model = make_model(SPECS["downsample"] | {"positions": "compacted"}, encoder=encoder())
    assert model(**batch())[0].isfinite()


def test_a_detector_that_was_not_trained_is_refused():
    model = make_model(SPECS["salad"])
    model.detector.threshold.fill_(torch.nan)
    with pytest.raises(ConfigError, match="the detector is not trained; train it with salad_train"):
        model(**batch())
    with pytest.raises(ConfigError, match="--init_param .*detector.pth"):
        model.eval().encode(batch()["speech"], batch()["speech_lengths"], "device")
