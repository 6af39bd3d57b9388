"""Awkward batches and bad values."""

import math

import pytest
import torch

from espnet2_supernet.errors import ConfigError, DataError
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.ssl.model import SupernetSSLModel


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param((2500, 2500), id="shorter than a span"),
        pytest.param((24000, 1000), id="one shorter than a frame"),
        pytest.param((24000,), id="one utterance"),
        pytest.param((3500,), id="shorter than a chunk and than two spans"),
    ],
)
def test_short_batches_are_defined(lengths, make_model, batch):
    model = make_model(num_negatives=1000, loss_weights=(0.1, 1.0))
    loss, stats, weight = model(**batch(lengths))
    loss.backward()
    assert loss.isfinite() and weight >= 1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if lengths[0] == 2500:
        assert stats["loss_server"] == 0 and stats["masked"] == 0


def test_a_batch_without_any_frame_is_named(make_model, batch):
    with pytest.raises(DataError, match="utterance 'utt500' and all 2 .* shorter than one"):
        make_model()(**batch((500, 300)))


def test_a_chunk_longer_than_the_utterance(make_model, batch, device):
    wide = device | {"context": {"chunk_size": 16, "left_context": 4}}
    model = make_model({"subnets": {"server": {"context": "full"}, "device": wide}})
    loss, stats, _ = model(**batch((3500, 3500)))
    loss.backward()
    assert loss.isfinite() and stats["masked"] > 0 and stats["loss_device"] > 0


def test_silence_has_no_negatives(make_model, batch):
    data = batch((24000,))
    data["speech"].zero_()
    model = make_model().eval()
    with torch.no_grad():
        loss, stats, _ = model(**data)
    assert loss.isfinite() and stats["loss_server"] == 0 and stats["accuracy_server"] == 0
    assert stats["code_perplexity_0"] == pytest.approx(1, abs=1e-4)
    assert len(model.epoch_warnings(stats)) == 4, "two codebooks, two subnets"


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_audio_beside_speech_has_finite_gradients(value, make_model, batch):
    model, data = make_model(loss_weights=(0.1, 1.0)), batch((24000, 24000))
    data["speech"][1] = value
    loss, stats, _ = model(**data)
    loss.backward()
    assert loss.isfinite() and stats["loss_server"] > 0
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_more_negatives_than_frames_are_some_of_them_several_times(make_model, batch):
    """The average over negatives drawn with replacement stays that of the frames."""
    losses = []
    for number in (2000, 4000):
        with torch.no_grad():
            _, stats, _ = make_model(num_negatives=number)(**batch((6000, 6000)))
        losses.append(float(stats["loss_server"]))
    assert losses[1] - losses[0] == pytest.approx(math.log(2), abs=0.05)


def test_samples_that_are_not_numbers_make_no_finite_loss(make_model, batch):
    data = batch((24000,))
    data["speech"][0, 500] = float("nan")
    assert not make_model()(**data)[0].isfinite(), "the trainer skips such a step"


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"num_negatives": 0}, "num_negatives: at least 1"),
        ({"logit_temp": 0.0}, "logit_temp: above 0"),
        ({"loss_weights": (0.1,)}, r"loss_weights: write \[diversity"),
        ({"feature_grad_mult": 0.0}, "feature_grad_mult"),
        ({"final_dim": 7}, "latent_dim: a multiple of latent_groups 2"),
        ({"dropout_features": 1.0}, "dropout_features"),
        ({"mask_length": 0}, "mask_length"),
        ({"supernet_conf": {"distillation": {"weight": 1}}}, "distillation"),
    ],
)
def test_bad_values_are_named(conf, message, make_model):
    with pytest.raises(ConfigError, match=message):
        make_model(**conf)


def test_another_encoder_is_refused():
    with pytest.raises(ConfigError, match="supernet_conformer or supernet_wav2vec2, got"):
        SupernetSSLModel(LogMelFrontend(), None, torch.nn.Identity())
