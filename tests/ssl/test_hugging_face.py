"""The same numbers as ``transformers`` with the same weights, where it is installed."""

import json

import pytest
import torch
import yaml

from espnet2_supernet.bin import import_hugging_face

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

SIZES = {
    "conv_dim": (6,) * 7, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "num_codevectors_per_group": 6, "num_codevector_groups": 2, "codevector_dim": 8,
    "proj_codevector_dim": 12,
}  # fmt: skip
RATES = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout",
         "feat_quantizer_dropout", "final_dropout", "layerdrop")  # fmt: skip
KINDS = {
    "base": {"feat_extract_norm": "group"},
    "large": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
}
LENGTHS = (16_000, 9_000, 12_345, 600)


def original(kind, inner=False):
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**SIZES, **KINDS[kind], **dict.fromkeys(RATES, 0.0))
    model = (transformers.Wav2Vec2Model if inner else transformers.Wav2Vec2ForPreTraining)(config)
    with torch.no_grad():  # no two weights alike, norms neither
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        if not inner:
            model.quantizer.codevectors.uniform_()
    return model.eval()


def configuration(kind, normalize_input=False):
    large = kind == "large"
    layers = [[6, k, s] for k, s in zip((10, 3, 3, 3, 3, 2, 2), (5, *(2,) * 6), strict=True)]
    rates = ("dropout_rate", "attention_dropout_rate", "input_dropout_rate")
    return {
        "frontend": "waveform_conv",
        "frontend_conf": {
            "conv_feature_layers": layers,
            "norm": "layer" if large else "group",
            "conv_bias": large,
            "normalize_input": normalize_input,
        },
        "encoder": "supernet_wav2vec2",
        "encoder_conf": {
            "output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 2,
            "layer_norm_first": large, "conv_pos": 16, "conv_pos_groups": 4,
            **dict.fromkeys(rates, 0.0),
        },
        "model_conf": {
            "mask_length": 4, "final_dim": 12, "latent_vars": 6, "latent_dim": 8,
            "num_negatives": 7, "dropout_features": 0.0,
        },
        "supernet_conf": {
            "subnets": {
                "server": {"context": "full"},
                "device": {
                    "context": {"chunk_size": 8, "left_context": 8},
                    "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
                },
            },
        },
    }  # fmt: skip


def imported(model, kind, folder, normalize_input=False, binary=False):
    from espnet2_supernet.tasks.ssl import SupernetSSLTask

    model.save_pretrained(folder / "theirs")
    if binary:
        (folder / "theirs/model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "theirs/pytorch_model.bin")
    preprocessor = {"do_normalize": normalize_input, "sampling_rate": 16000}
    (folder / "theirs/preprocessor_config.json").write_text(json.dumps(preprocessor))
    config = configuration(kind, normalize_input)
    (folder / "train.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    command = ["--model_dir", folder / "theirs", "--config", folder / "train.yaml"]
    import_hugging_face.main([str(one) for one in [*command, "--output_dir", folder / "ours"]])
    ours, _ = SupernetSSLTask.build_model_from_file(model_file=folder / "ours/initial.pth")
    return ours.eval()


def sounds():
    torch.manual_seed(1)
    wavs = [0.1 * torch.randn(n) for n in LENGTHS]
    return wavs, torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), torch.tensor(LENGTHS)


def assert_same_frames(ours, wavs, speech, lengths, theirs):
    with torch.no_grad(), ours.supernet.active_subnet("server"):
        found, counts, _ = ours.encoder(*ours.extract_features(speech, lengths))
        for one, count, wav in zip(found, counts, wavs, strict=True):
            expected = theirs(wav[None]).last_hidden_state[0]
            assert len(expected) == count
            torch.testing.assert_close(one[:count], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("binary", [False, True])
def test_full_context_is_the_original(kind, binary, tmp_path):
    model = original(kind)
    ours, (wavs, speech, lengths) = imported(model, kind, tmp_path, binary=binary), sounds()
    assert_same_frames(ours, wavs, speech, lengths, model.wav2vec2)


def test_padding_is_the_original(tmp_path):
    """With layer norms theirs takes padded batches, too."""
    model = original("large")
    ours, (_, speech, lengths) = imported(model, "large", tmp_path), sounds()
    attended = (torch.arange(speech.size(1)) < lengths[:, None]).long()
    with torch.no_grad():
        expected = model.wav2vec2(speech, attention_mask=attended).last_hidden_state
        found, counts, _ = ours.encoder(*ours.extract_features(speech, lengths))
    for one, theirs, count in zip(found, expected, counts, strict=True):
        torch.testing.assert_close(one[:count], theirs[:count], atol=1e-4, rtol=0)


def test_the_inner_model_alone_and_a_normalised_waveform(tmp_path, capsys):
    model = original("large", inner=True)
    ours, (wavs, speech, lengths) = imported(model, "large", tmp_path, True), sounds()
    told = capsys.readouterr().out
    assert "dropped: none; random: heads.quantizer.codebooks, " in told
    normalised = lambda wav: model(torch.nn.functional.layer_norm(wav, wav.shape[1:]))  # noqa: E731
    assert_same_frames(ours, wavs, speech, lengths, normalised)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_pretraining_loss_is_the_original(kind, tmp_path, monkeypatch):
    """Same weights, spans, negatives and Gumbel noise: contrastive plus diversity loss."""
    theirs = original(kind)
    ours, (wavs, speech, lengths) = imported(theirs, kind, tmp_path), sounds()
    if kind == "base":  # theirs has no padding under a group norm
        wavs = [wav[:9_000] for wav in wavs[:3]]
        speech, lengths = torch.stack(wavs), torch.tensor([9_000] * 3)
    ours.train()
    theirs.train()
    ids = [str(i) for i in range(len(speech))]
    plan = ours._draw_plan(ids, ours.frontend.num_frames(lengths), 0)
    frames = plan.mask.size(1)
    negatives = torch.zeros(*plan.mask.shape, 7, dtype=torch.long)
    columns = [row.nonzero()[:, 0] for row in plan.mask]
    for n, (row, column) in enumerate(zip(plan.rows, plan.columns, strict=True)):
        own = columns[row][plan.negatives[n]] + row * frames
        negatives[row, columns[row][column]] = own
    noise = torch.ones(*plan.mask.shape, 2, 6)
    noise[plan.mask] = plan.exponential(2, 6)

    def same_draws(logits, tau, hard):
        chosen = (logits - noise.view(-1, 6).log()).argmax(-1)
        return torch.nn.functional.one_hot(chosen, 6).to(logits)

    monkeypatch.setattr(torch.nn.functional, "gumbel_softmax", same_draws)
    attended = (torch.arange(speech.size(1)) < lengths[:, None]).long()
    expected = theirs(
        speech,
        attention_mask=attended,
        mask_time_indices=plan.mask,
        sampled_negative_indices=negatives,
    )
    ours.supernet_config.loss_weights.update(server=1.0, device=0.0)
    loss, stats, weight = ours(speech, lengths, ids)
    masked = len(plan.rows)
    assert weight == masked > 30
    for found, wanted in (
        (loss, expected.loss),
        (stats["loss_server"], expected.contrastive_loss),
        (stats["loss_diversity"], expected.diversity_loss),
    ):
        torch.testing.assert_close(found.squeeze(), wanted / masked, atol=1e-5, rtol=1e-5)
