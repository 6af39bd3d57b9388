"""LayerDrop in the encoders: the same blocks for every subnet of a step, all of them in use."""

import pytest
import torch

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.supernet import Supernet

torch.set_num_threads(1)
KINDS = {
    "transformer": (SupernetTransformerEncoder, {"subsampling": "stack"}),
    "conformer": (SupernetConformerEncoder, {"cnn_module_kernel": 3, "subsampling": "stack"}),
    "base": (SupernetWav2Vec2Encoder, {"conv_pos": 4, "conv_pos_groups": 2}),
    "large": (
        SupernetWav2Vec2Encoder,
        {"conv_pos": 4, "conv_pos_groups": 2, "layer_norm_first": True},
    ),
}
CONTEXTS = (Context(), Context(chunk_size=4, left_context=4))


def make(kind, rate):
    torch.manual_seed(0)
    class_, options = KINDS[kind]
    encoder = class_(8, 16, 2, 32, num_blocks=4, dropout_rate=0.0, layerdrop=rate, **options)
    for module in encoder.modules():  # what has another name than dropout_rate
        if hasattr(module, "rate") and module is not encoder.layer_drop:
            module.rate = 0.0
    return encoder


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_through_the_same_blocks_in_every_context(kind):
    encoder, seen = make(kind, 0.5), []
    supernet = Supernet(encoder, SupernetConfig.parse({"subnets": {"server": {}}}))
    for number, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda *_, number=number: seen.append(number))
    feats, lengths, drawn = torch.randn(2, 40, 8), torch.tensor([40, 24]), set()
    for step in range(8):
        supernet.draw_layers(step)
        ran = []
        for context in CONTEXTS:
            seen.clear()
            encoder.zero_grad()
            encoder(feats, lengths, context=context)[0].square().sum().backward()
            ran.append(tuple(seen))
            for number, block in enumerate(encoder.blocks):
                moved = any(bool(p.grad.any()) for p in block.parameters())
                assert moved == (number in seen), "every parameter has a gradient"
        assert ran[0] == ran[1]
        drawn.add(ran[0])
        if kind in ("base", "large"):
            assert ran[0][0] == 0, "positions are always added"
    assert len(drawn) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_has_all_blocks_and_the_keys_are_the_same(kind):
    plain, dropping = make(kind, 0.0), make(kind, 0.5)
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    dropping.layer_drop.draw("0")
    feats, lengths = torch.randn(1, 40, 8), torch.tensor([40])
    with torch.no_grad():
        left, right = (encoder.eval()(feats, lengths)[0] for encoder in (plain, dropping))
    assert torch.equal(left, right)


def test_the_final_norm_of_a_block_can_be_kept():
    """Random layer dropping as LDASR has it."""
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, dropout_rate=0.0, layerdrop=0.5, layerdrop_keep_norm=True
    ).train()
    torch.nn.init.uniform_(encoder.blocks[1].norm_out.weight, 0.5, 2.0)
    seed = next(str(i) for i in range(99) if draws(encoder, str(i)) == [False, True])
    encoder.layer_drop.draw(seed)
    found = encoder(FEATS, LENGTHS)[0]
    encoder.blocks[1].forward = lambda x, layout, state: (encoder.blocks[1].norm_out(x), state)
    expected = encoder.eval()(FEATS, LENGTHS)[0]
    torch.testing.assert_close(found, expected)


def draws(encoder, seed):
    encoder.layer_drop.draw(seed)
    return [encoder.layer_drop.leaves_out(number) for number in range(2)]


FEATS = torch.randn(2, 40, 20, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([40, 24])
