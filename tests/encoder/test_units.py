"""Encoders with units cut out: sliced equals masked, whole, chunked and streamed."""

import pytest
import torch

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.encoder.sizes import check_equal_blocks, encoder_sizes
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.supernet import Supernet

torch.set_num_threads(1)
CONTEXT = Context(chunk_size=4, left_context=3, right_context=1)
BOTH = ["attention_heads", "linear_units"]
DIMENSIONS = ["key_dimensions", "value_dimensions"]
ENCODERS = {
    "transformer": (SupernetTransformerEncoder, {}, BOTH),
    "conformer": (
        SupernetConformerEncoder,
        {"cnn_module_kernel": 5, "subsampling_channels": 4},
        [*BOTH, "convolution_channels"],
    ),
    "wav2vec2_base": (SupernetWav2Vec2Encoder, {"conv_pos": 8, "conv_pos_groups": 4}, BOTH),
    "wav2vec2_large": (
        SupernetWav2Vec2Encoder,
        {"conv_pos": 8, "conv_pos_groups": 4, "layer_norm_first": True},
        BOTH,
    ),
}
SIZES = {"output_size": 16, "attention_heads": 4, "linear_units": 24, "num_blocks": 2}


CASES = [(name, kinds) for name, (_, _, kinds) in ENCODERS.items()]
CASES += [(name, DIMENSIONS) for name in ENCODERS]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1][0]}")
def pruned(request):
    """A supernet with a pruned structured subnet, its class and configuration."""
    name, kinds = request.param
    class_, more, _ = ENCODERS[name]
    conf = {**SIZES, **more, "attention_head_size": 8}
    torch.manual_seed(0)
    encoder = class_(20, **conf).eval()
    mask = {"pattern": {"structured": {"kinds": kinds}}, "sparsity": 0.5, "ranking": "kind"}
    context = {"chunk_size": 4, "left_context": 3, "right_context": 1}
    table = {"server": {"context": "full"}, "device": {"context": context, "mask": mask}}
    supernet = Supernet(
        encoder, SupernetConfig.parse({"subnets": table, "layer_norm": "per_subnet"})
    )
    with torch.no_grad():  # biases and norms that differ, so that a wrong entry shows
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    pruner = supernet.pruner()
    pruner.total_steps.fill_(10)
    pruner.step.fill_(10)
    pruner.update_masks()
    pruner.check_masks()
    return supernet, class_, conf


def test_sliced_equals_masked(pruned):
    supernet, class_, conf = pruned
    small = supernet.extract("device")
    sizes = encoder_sizes(small)
    assert sizes != encoder_sizes(supernet.root)
    plain = class_(20, **{**conf, **sizes}).eval()
    plain.load_state_dict(small.state_dict(), strict=True)
    parameters = sum(p.numel() for p in plain.parameters())
    counts = supernet.counts("device")
    assert parameters == counts["nonzero"] < counts["parameters"]
    feats, lengths = torch.randn(2, 90, 20), torch.tensor([90, 61])
    with torch.no_grad(), supernet.active_subnet("device"):
        for context in (Context(), CONTEXT):
            expected = supernet.root(feats, lengths, context=context)[0]
            found = plain(feats, lengths, context=context)[0]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        streams = [
            one.stream(feats, one.init_state(CONTEXT, 2), is_final=True)[0]
            for one in (supernet.root, plain)
        ]
    torch.testing.assert_close(streams[1], streams[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(streams[1][0], found[0], rtol=0, atol=1e-4)


def test_the_dense_subnet_is_not_touched(pruned):
    supernet, class_, conf = pruned
    plain = class_(20, **conf).eval()
    plain.load_state_dict(supernet.extract("server").state_dict(), strict=True)
    feats, lengths = torch.randn(1, 50, 20), torch.tensor([50])
    with torch.no_grad(), supernet.active_subnet("server"):
        expected = supernet.root(feats, lengths)[0]
    assert torch.equal(plain(feats, lengths)[0], expected)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"attention_heads": [4, 4, 4]}, "attention_heads: 3 sizes for 2 blocks"),
        ({"attention_heads": [4, 0]}, "whole number from 1, got 0"),
        ({"attention_head_size": 3}, "attention_head_size must be even, got 3"),
        ({"attention_heads": [4, 3]}, "even multiple of attention_heads 3"),
        ({"linear_units": [24, "x"]}, "linear_units: a size is a whole number"),
        ({"attention_key_size": [4, 3]}, "key_size must be even, .* attention_head_size 4, got 3"),
        ({"attention_key_size": 6}, "at most attention_head_size 4, got 6"),
        ({"attention_value_size": [4]}, "attention_value_size: 1 sizes for 2 blocks"),
    ],
)
def test_refuses_sizes(conf, message):
    with pytest.raises(ConfigError, match=message):
        SupernetTransformerEncoder(20, **{**SIZES, **conf})


@pytest.mark.parametrize(
    ("kinds", "least", "message"),
    [
        (["attention_heads", "key_dimensions"], 1, "both prune .*attention.linear_q.*extract"),
        (["key_dimensions"], 5, "has 4 key_dimensions, min_kept is 5"),
        (["value_dimensions"], 6, "fewer than min_kept 6 value_dimensions"),
        (["keydimensions"], 1, "it has: attention_heads, key_dimensions, layers, linear_units"),
    ],
)
def test_refuses_masks_of_dimensions(kinds, least, message):
    encoder = SupernetTransformerEncoder(20, **SIZES, attention_head_size=8)
    pattern = {"structured": {"kinds": kinds, "min_kept": least}}
    table = {"device": {"mask": {"pattern": pattern, "sparsity": 0.5}}}
    with pytest.raises(ConfigError, match=message):
        Supernet(encoder, SupernetConfig.parse({"subnets": table})).pruner()


def test_the_last_dimension_of_a_layer_stays_under_global_ranking(make_dimensions):
    supernet, pruner = make_dimensions(sparsity=0.6, ranking="global")
    with torch.no_grad():
        for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
            getattr(supernet.root.blocks[0].attention, name).weight.mul_(1e-3)
    pruner.step_once()
    pruner.check_masks()
    first, second = (block.attention for block in supernet.extract("device").blocks)
    assert (first.key_size, first.value_size, first.head_size) == (2, 1, 8)
    assert second.key_size > 2 and len(first.rotary_pairs) == 1


def test_a_smaller_encoder_is_cut_once_more(make_dimensions):
    supernet, pruner = make_dimensions()
    pruner.step_once()
    once = supernet.extract("device")
    conf = {**SIZES, **encoder_sizes(once)}
    again, pruner = make_dimensions(conf, once.state_dict())
    pruner.step_once()
    feats, lengths = torch.randn(1, 50, 20), torch.tensor([50])
    small = again.extract("device").eval()
    with torch.no_grad(), again.active_subnet("device"):
        expected = again.root.eval()(feats, lengths)[0]
    torch.testing.assert_close(small(feats, lengths)[0], expected, rtol=0, atol=1e-5)
    before, after = once.blocks[0].attention, small.blocks[0].attention
    assert set(after.rotary_pairs.tolist()) < set(before.rotary_pairs.tolist())


@pytest.fixture
def make_dimensions():
    """Build a transformer under a one-shot mask of head dimensions, and its pruner."""

    def make(conf=None, states=None, **mask):
        torch.manual_seed(0)
        encoder = SupernetTransformerEncoder(20, **(conf or {**SIZES, "attention_head_size": 8}))
        if states is not None:
            encoder.load_state_dict(states, strict=True)
        spec = {"pattern": {"structured": {"kinds": DIMENSIONS}}, "sparsity": 0.5, **mask}
        schedule = {"kind": "one_shot", "begin": 0}
        table = {"subnets": {"device": {"mask": spec}}, "schedule": schedule}
        supernet = Supernet(encoder, SupernetConfig.parse(table))
        return supernet, supernet.pruner()

    return make


def test_blocks_of_unlike_sizes_are_named_where_they_cannot_be_used():
    check_equal_blocks(SupernetConformerEncoder(20, **SIZES), "bundle")
    encoder = SupernetConformerEncoder(20, **SIZES, convolution_channels=[16, 12])
    with pytest.raises(ConfigError, match=r"bundle: .*convolution_channels: \[16, 12\]"):
        check_equal_blocks(encoder, "bundle")
    for key in ("attention_key_size", "attention_value_size"):
        encoder = SupernetConformerEncoder(20, **SIZES, **{key: 2})
        with pytest.raises(ConfigError, match=r"ONNX: .*narrower"):
            check_equal_blocks(encoder, "ONNX")
