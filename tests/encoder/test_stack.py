"""Blocks and the norms of left-out ones: an extracted encoder computes what its subnet did."""

import pytest
import torch

from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.encoder.stack import NormBlock, norm_places, with_norms
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.supernet import Supernet

torch.set_num_threads(1)
FEATS = torch.randn(2, 40, 12, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([40, 24])


def make(num_blocks=4, **conf):
    torch.manual_seed(1)
    encoder = SupernetConformerEncoder(
        12, 16, 2, 32, num_blocks=num_blocks, subsampling_channels=4, **conf
    )
    for block in encoder.blocks:
        torch.nn.init.uniform_(block.norm_out.weight, 0.5, 2.0)
    return encoder.eval()


@pytest.mark.parametrize(
    ("keep", "places"), [("first", [2, 3]), ("last", [0, 1]), ("spread", [0, 2])]
)
def test_a_left_out_block_becomes_its_norm(keep, places):
    encoder = make(layerdrop_keep_norm=True)
    rows = {"server": {}, "low": {"depth": {"layers": 2, "keep": keep}}}
    supernet = Supernet(encoder, SupernetConfig.parse({"subnets": rows}))
    small = supernet.extract("low")
    assert norm_places(small) == places and len(small.blocks.counted) == 2
    alone = make(2, kept_norms=places)
    alone.load_state_dict(small.state_dict())  # strictly
    context = Context(chunk_size=4, left_context=4, right_context=1)
    with supernet.active_subnet("low"), torch.no_grad():
        for one in (Context(), context):
            expected, _, _ = encoder(FEATS, LENGTHS, context=one)
            for network in (small, alone):
                found, _, _ = network.eval()(FEATS, LENGTHS, context=one)
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    streamed, state = alone.stream(FEATS[:, :24], alone.init_state(context, 2))
    rest, _ = alone.stream(FEATS[:, 24:], state, is_final=True)
    torch.testing.assert_close(torch.cat([streamed, rest], 1)[0], found[0], rtol=0, atol=1e-5)


def test_layerdrop_never_leaves_a_norm_out():
    encoder = make(2, kept_norms=[0, 2], layerdrop=0.9)
    assert encoder.layer_drop.droppable == (False, True, False, True)
    assert [isinstance(block, NormBlock) for block in encoder.blocks] == [True, False, True, False]


@pytest.mark.parametrize("places", [[2, 1], [0, 0], [4], [-1], ["0"]])
def test_places_that_cannot_be_are_named(places):
    with pytest.raises(ConfigError, match="kept_norms: .* ascending places from 0 to"):
        with_norms(list(make(2).blocks), places, 16)
