"""The blocks of wav2vec 2.0 against their formulas."""

import pytest
import torch
import torch.nn.functional as F

from espnet2_supernet.encoder import SupernetTransformerEncoder, SupernetWav2Vec2Encoder
from espnet2_supernet.encoder.positions import WeightNormConv
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.supernet.context import Context

torch.set_num_threads(1)


def make(**conf):
    torch.manual_seed(0)
    conf = {"num_blocks": 2, "conv_pos": 6, "conv_pos_groups": 4} | conf
    return SupernetWav2Vec2Encoder(10, 16, 2, 32, **conf).eval()


def by_hand(encoder, feats, pre_norm):
    """One utterance ``(1, T, F)`` through functions of torch alone."""
    places, *blocks = encoder.blocks
    norm, linear = encoder.subsampling.norm, encoder.subsampling.linear
    x = linear(F.layer_norm(feats, (10,), norm.weight, norm.bias))
    # torch's own weight norm
    weight = torch._weight_norm(places.conv.weight_v, places.conv.weight_g, 2)
    told = F.conv1d(x.transpose(1, 2), weight, places.conv.bias, padding=3, groups=4)
    x = x + F.gelu(told[..., :-1]).transpose(1, 2)
    x = x if pre_norm else places.norm(x)
    for block in blocks:
        x = x + attention(block.attention, block.norm_attention(x) if pre_norm else x)
        x = x if pre_norm else block.norm_attention(x)
        inner = block.feed_forward.linear_in(block.norm_feed_forward(x) if pre_norm else x)
        x = x + block.feed_forward.linear_out(F.gelu(inner))
        x = x if pre_norm else block.norm_feed_forward(x)
    return encoder.norm(x) if pre_norm else x


def attention(module, x):
    q, k, v = (
        layer(x).unflatten(-1, (2, -1)).transpose(1, 2)
        for layer in (module.linear_q, module.linear_k, module.linear_v)
    )
    out = F.scaled_dot_product_attention(q, k, v)
    return module.linear_out(out.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_full_context_is_the_published_formula(pre_norm):
    encoder, feats = make(layer_norm_first=pre_norm), torch.randn(1, 23, 10)
    with torch.no_grad():
        found, lengths, _ = encoder(feats, torch.tensor([23]))
        expected = by_hand(encoder, feats, pre_norm)
    assert lengths.tolist() == [23]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_positions_end_with_the_chunk():
    encoder = make(num_blocks=1, conv_pos=16)
    context, lengths = Context(chunk_size=4, left_context=2), torch.tensor([30])
    feats = torch.randn(1, 30, 10)
    changed = feats.clone()
    changed[:, 12:] = torch.randn(1, 18, 10)
    with torch.no_grad():
        before, after = (encoder(x, lengths, context=context)[0] for x in (feats, changed))
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().max() > 1e-3


def test_two_steps_of_subsampling_are_the_one():
    for encoder in (make(), SupernetTransformerEncoder(10, 16, 2, 32, num_blocks=1).eval()):
        feats, lengths = torch.randn(2, 20, 10), torch.tensor([20, 13])
        latents, counted = encoder.latents(feats, lengths)
        assert latents.size(2) == encoder.latent_size
        for_quantizer, frames = encoder.project(latents)
        expected, _ = encoder.subsample(feats, lengths)
        torch.testing.assert_close(frames, expected)
        assert for_quantizer.shape == latents.shape
        assert counted.tolist() == [n // encoder.subsampling_factor for n in (20, 13)]


def test_every_matrix_of_the_blocks_can_be_masked():
    names = {n for n, layer in make().named_modules() if isinstance(layer, MaskedLinear)}
    assert len(names) == 2 * 6 and all(name.startswith("blocks.") for name in names)


def test_each_tap_has_its_length():
    conv = WeightNormConv(8, 4, 2)
    torch.testing.assert_close(conv.weight_v.norm(dim=(0, 1)), conv.weight_g[0, 0])
    with torch.no_grad():
        conv.weight_v.mul_(3.0)
    x = torch.randn(1, 9, 8)
    twin = F.conv1d(x.transpose(1, 2), conv.weight_v / 3.0, conv.bias, groups=2)
    torch.testing.assert_close(conv(x), twin.transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_groups_must_divide():
    with pytest.raises(ConfigError, match="conv_pos_groups must divide output_size 16"):
        make(conv_pos_groups=3)
