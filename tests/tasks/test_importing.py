"""Published weights in Hugging Face's format as a starting point; needs no ``transformers``."""

import json
import struct

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, import_hugging_face, ssl_train
from espnet2_supernet.errors import CheckpointError, ConfigError

torch.set_num_threads(1)

LAYERS = [[6, 10, 5], [6, 3, 2], [6, 3, 2]]
SIZES = {
    "model_type": "wav2vec2", "conv_dim": [6] * 3, "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 2, 2], "hidden_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 32, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4, "num_codevectors_per_group": 5,
    "num_codevector_groups": 2, "codevector_dim": 8, "proj_codevector_dim": 12,
}  # fmt: skip
INNER = {
    "feature_extractor.conv_layers.0.conv.weight": (6, 1, 10),
    "feature_extractor.conv_layers.0.layer_norm.weight": (6,),
    "feature_extractor.conv_layers.0.layer_norm.bias": (6,),
    "feature_extractor.conv_layers.1.conv.weight": (6, 6, 3),
    "feature_extractor.conv_layers.2.conv.weight": (6, 6, 3),
    "feature_projection.layer_norm.weight": (6,),
    "feature_projection.layer_norm.bias": (6,),
    "feature_projection.projection.weight": (16, 6),
    "feature_projection.projection.bias": (16,),
    "masked_spec_embed": (16,),
    "encoder.pos_conv_embed.conv.weight_g": (1, 1, 8),
    "encoder.pos_conv_embed.conv.weight_v": (16, 4, 8),
    "encoder.pos_conv_embed.conv.bias": (16,),
    "encoder.layer_norm.weight": (16,),
    "encoder.layer_norm.bias": (16,),
    **{
        f"encoder.layers.0.attention.{name}_proj.{part}": (16, 16) if part == "weight" else (16,)
        for name in "k v q out".split()
        for part in ("weight", "bias")
    },
    "encoder.layers.0.layer_norm.weight": (16,),
    "encoder.layers.0.layer_norm.bias": (16,),
    "encoder.layers.0.feed_forward.intermediate_dense.weight": (32, 16),
    "encoder.layers.0.feed_forward.intermediate_dense.bias": (32,),
    "encoder.layers.0.feed_forward.output_dense.weight": (16, 32),
    "encoder.layers.0.feed_forward.output_dense.bias": (16,),
    "encoder.layers.0.final_layer_norm.weight": (16,),
    "encoder.layers.0.final_layer_norm.bias": (16,),
}
HEADS = {
    "quantizer.codevectors": (1, 10, 4),
    "quantizer.weight_proj.weight": (10, 6),
    "quantizer.weight_proj.bias": (10,),
    "project_hid.weight": (12, 16),
    "project_hid.bias": (12,),
    "project_q.weight": (12, 8),
    "project_q.bias": (12,),
}


def published(heads=True, **more):
    torch.manual_seed(0)
    shapes = INNER if not heads else {f"wav2vec2.{k}": v for k, v in INNER.items()} | HEADS
    return {key: torch.randn(shape) for key, shape in (shapes | more).items()}


def write_safetensors(states, path):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, value in states.items():
        numbers = value.numpy().tobytes()
        header[key] = {
            "dtype": {torch.float32: "F32", torch.float16: "F16"}[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(numbers)],
        }
        data += numbers
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write(states, folder, config=None, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SIZES | (config or {})))
    if name.endswith("bin"):
        torch.save(states, folder / name)
    else:
        write_safetensors(states, folder / name)


def own_options(tiny_corpus, **changes):
    conf = tiny_corpus.ssl_config()
    changes = {
        "frontend": "waveform_conv",
        "frontend_conf": {"conv_feature_layers": LAYERS},
        "normalize": None,
        "normalize_conf": {},
        "encoder": "supernet_wav2vec2",
        "encoder_conf": {
            "output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 1,
            "conv_pos": 8, "conv_pos_groups": 4,
        },
        "model_conf": conf["model_conf"] | {"final_dim": 12, "latent_vars": 5, "latent_dim": 8},
    } | changes  # fmt: skip
    return conf | changes


@pytest.fixture
def convert(tiny_corpus, tmp_path):
    """Import a folder; return the weights written."""

    def run(states, config=None, name="model.safetensors", **changes):
        write(states, tmp_path / "theirs", config, name)
        options = own_options(tiny_corpus, **changes)
        (tmp_path / "train.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
        folders = {"model_dir": "theirs", "config": "train.yaml", "output_dir": "ours"}
        words = [str(w) for k, v in folders.items() for w in (f"--{k}", tmp_path / v)]
        import_hugging_face.main(words)
        return torch.load(tmp_path / "ours/initial.pth", weights_only=True)

    return run


def test_every_weight_finds_its_place(convert, capsys):
    states = published()
    found = convert(states)
    parameters = {k: v for k, v in found.items() if v.is_floating_point()}
    assert sum(v.numel() for v in parameters.values()) == sum(v.numel() for v in states.values())
    for own, theirs in {
        "frontend.convs.2.weight": "wav2vec2.feature_extractor.conv_layers.2.conv.weight",
        "frontend.norms.0.bias": "wav2vec2.feature_extractor.conv_layers.0.layer_norm.bias",
        "encoder.subsampling.norm.weight": "wav2vec2.feature_projection.layer_norm.weight",
        "encoder.blocks.0.norm.weight": "wav2vec2.encoder.layer_norm.weight",
        "encoder.blocks.1.norm_attention.weight": "wav2vec2.encoder.layers.0.layer_norm.weight",
        "encoder.blocks.1.attention.linear_q.bias":
            "wav2vec2.encoder.layers.0.attention.q_proj.bias",
        "encoder.blocks.1.feed_forward.linear_in.weight":
            "wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight",
        "heads.mask_emb": "wav2vec2.masked_spec_embed",
        "heads.final_proj.weight": "project_hid.weight",
    }.items():  # fmt: skip
        assert torch.equal(found[own], states[theirs]), own
    books = states["quantizer.codevectors"]
    assert torch.equal(found["heads.quantizer.codebooks"][1], books[0, 5:])
    told = capsys.readouterr().out
    assert f"{len(states)} tensors of " in told and "dropped: none; random: none" in told


def test_all_spellings_are_the_same_model(convert, tmp_path):
    expected = convert(published())
    (tmp_path / "ours").rename(tmp_path / "first")
    plain = {key.removeprefix("wav2vec2."): v for key, v in published().items()}
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        value = plain.pop(f"encoder.pos_conv_embed.conv.{old}")
        plain[f"encoder.pos_conv_embed.conv.parametrizations.weight.{new}"] = value
    (tmp_path / "theirs/model.safetensors").unlink()
    found = convert(plain, name="pytorch_model.bin")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_half_precision_becomes_single(convert):
    found = convert({key: value.half() for key, value in published().items()})
    assert {v.dtype for v in found.values() if v.is_floating_point()} == {torch.float32}


def test_what_is_dropped_and_what_is_random_is_told(convert, capsys):
    inner = {f"wav2vec2.{key}": value for key, value in published(heads=False).items()}
    inner.pop("wav2vec2.masked_spec_embed")
    convert(inner | {"lm_head.weight": torch.randn(32, 16), "lm_head.bias": torch.randn(32)},
            model_conf={"mask_length": 2})  # fmt: skip
    told = capsys.readouterr().out
    assert "dropped: lm_head.weight, lm_head.bias; random: heads.mask_emb, heads.quant" in told


def test_private_norms_start_as_the_published_ones(convert, tiny_corpus):
    conf = tiny_corpus.config()["supernet_conf"] | {"layer_norm": "per_subnet"}
    found = convert(published(), supernet_conf=conf)
    for key in ("encoder.blocks.0.norm", "encoder.blocks.1.norm_feed_forward"):
        assert torch.equal(found[f"{key}.norm_device.bias"], found[f"{key}.bias"])


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        ({}, {"adapter.layers.0.weight": (2,)}, "'adapter.layers.0.weight' has no place"),
        ({"num_hidden_layers": 2}, {}, "encoder_conf.num_blocks: 1, must be 2"),
        ({}, {"project_hid.bias": (13,)}, r"heads.final_proj.bias.*13"),
        ({"hidden_act": "relu"}, {}, "config.json: hidden_act must be gelu, is relu"),
        ({"add_adapter": True}, {}, "config.json: add_adapter must be False, is True"),
        ({"conv_kernel": [10, 3]}, {}, "conv_dim, conv_kernel, conv_stride must be of one length"),
        ({"model_type": "hubert"}, {}, "config.json: model_type must be wav2vec2, is hubert"),
    ],
)
def test_a_model_that_is_another_is_named(convert, config, more, message):
    with pytest.raises((CheckpointError, ConfigError), match=message):
        convert(published(**more), config)


def test_a_missing_key_is_named(convert):
    states = published()
    del states["wav2vec2.encoder.layer_norm.bias"]
    with pytest.raises(CheckpointError, match="safetensors: 'encoder.layer_norm.bias' and 0 more"):
        convert(states)


def test_every_differing_option_is_named(convert):
    with pytest.raises(ConfigError, match="frontend: log_mel, must be waveform_conv"):
        convert(published(), frontend="log_mel", frontend_conf={})
    encoder = {"output_size": 32, "linear_units": 32, "attention_heads": 2, "num_blocks": 1,
               "conv_pos": 8, "conv_pos_groups": 4}  # fmt: skip
    with pytest.raises(ConfigError) as told:
        convert(published(), {"conv_bias": True}, encoder_conf=encoder, model_conf={})
    for words in (
        "frontend_conf.conv_bias: False, must be True",
        "encoder_conf.output_size: 32, must be 16",
        "model_conf.latent_vars: 320, must be 5",
    ):
        assert words in str(told.value)


def test_a_folder_with_a_model_is_not_overwritten(convert):
    convert(published())
    with pytest.raises(CheckpointError, match="holds a model already"):
        convert(published())


def test_pretraining_and_recognition_start_from_it(convert, tiny_corpus, tmp_path):
    """Stages 7 and 9: one epoch of each."""
    states = convert(published())
    options = own_options(tiny_corpus, max_epoch=1, best_model_criterion=[["valid", "loss", "min"]])
    (tmp_path / "ssl.yaml").write_text(yaml.safe_dump(options | {"optim_conf": {"lr": 0.0}}))
    initial = str(tmp_path / "ours/initial.pth")
    ssl_train.main(["--config", str(tmp_path / "ssl.yaml"), "--init_param", initial,
                    "--output_dir", str(tmp_path / "ssl")])  # fmt: skip
    after = torch.load(tmp_path / "ssl/1epoch.pth", weights_only=True)
    key = "encoder.blocks.1.attention.linear_q.weight"
    assert torch.equal(after[key], states[key]) and torch.equal(
        after["heads.mask_emb"], states["heads.mask_emb"]
    )
    names = ("frontend", "frontend_conf", "normalize", "normalize_conf", "encoder", "encoder_conf")
    changes = {name: options[name] for name in names} | {"max_epoch": 1, "optim_conf": {"lr": 0.0}}
    config = tiny_corpus.write_config(tmp_path / "asr.yaml", ssl_model_file=initial, **changes)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "asr")])
    tuned = torch.load(tmp_path / "asr/1epoch.pth", weights_only=True)
    for own in (key, "frontend.convs.0.weight", "encoder.blocks.0.conv.weight_g"):
        assert torch.equal(tuned[own], states[own])
