"""Encoders whose layers a mask prunes: passed by, cut out, and never all of them."""

import copy

import pytest
import torch

from espnet2_supernet.encoder import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
    SupernetWav2Vec2Encoder,
)
from espnet2_supernet.encoder.sizes import encoder_sizes
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.supernet import Supernet

torch.set_num_threads(1)
CONTEXT = {"chunk_size": 4, "left_context": 3, "right_context": 1}
SIZES = {"output_size": 16, "attention_heads": 2, "num_blocks": 4}
ENCODERS = {
    "transformer": (SupernetTransformerEncoder, {"linear_units": [20, 24, 28, 24]}),
    "conformer": (
        SupernetConformerEncoder,
        {"cnn_module_kernel": 5, "subsampling_channels": 4, "linear_units": 24},
    ),
    "wav2vec2": (
        SupernetWav2Vec2Encoder,
        {"conv_pos": 8, "conv_pos_groups": 4, "linear_units": 24},
    ),
}


def build(name="transformer", kinds=("layers",), least=1, schedule=None, row=None, **mask):
    torch.manual_seed(0)
    class_, more = ENCODERS[name]
    conf = {**SIZES, **more, **(row or {}).get("encoder_conf", {})}
    encoder = class_(20, **conf)
    pattern = {"structured": {"kinds": list(kinds), "min_kept": least}}
    rows = {"device": {"context": CONTEXT, "mask": {"pattern": pattern, "sparsity": 0.5, **mask}}}
    rows["device"].update({k: v for k, v in (row or {}).items() if k != "encoder_conf"})
    table = {"subnets": rows, "schedule": schedule or {"kind": "one_shot", "begin": 0}}
    supernet = Supernet(encoder, SupernetConfig.parse(table))
    return supernet, supernet.pruner(), class_, conf


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 70, 20, generator=generator), torch.tensor([70, 51])


@pytest.mark.parametrize("name", ENCODERS)
def test_cut_out_equals_passed_by(name):
    supernet, pruner, class_, conf = build(name)
    for block in supernet.root.blocks.counted[1], supernet.root.blocks.counted[2]:
        for parameter in block.parameters():
            parameter.data.mul_(0.1)  # the layers to go
    assert supernet.num_layers("device") == 4
    pruner.step_once()
    pruner.check_masks()
    assert supernet.root.blocks.mask("device").tolist() == [True, False, False, True]
    assert supernet.num_layers("device") == 2
    assert pruner.sparsity_report()["device"]["prunable"] == pytest.approx(0.5, abs=0.02)
    small = supernet.extract("device").eval()
    plain = class_(20, **{**conf, **encoder_sizes(small), "num_blocks": 2}).eval()
    plain.load_state_dict(small.state_dict(), strict=True)
    counts = supernet.counts("device")
    assert sum(p.numel() for p in plain.parameters()) == counts["nonzero"] < counts["parameters"]
    feats, lengths = batch()
    context = Context(**CONTEXT)
    with torch.no_grad(), supernet.active_subnet("device"):
        supernet.root.eval()
        for one in (Context(), context):
            expected = supernet.root(feats, lengths, context=one)[0]
            found = plain(feats, lengths, context=one)[0]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        state = supernet.root.init_state(context, 2)
        assert len(state.blocks) == len(plain.init_state(context, 2).blocks)
        streamed = supernet.root.stream(feats, state, is_final=True)[0]
        alone = plain.stream(feats, plain.init_state(context, 2), is_final=True)[0]
    torch.testing.assert_close(streamed, alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(streamed[0], expected[0], rtol=0, atol=1e-4)


def test_pruned_layers_have_gradients_of_zero_for_distributed_training():
    supernet, pruner, _, _ = build()
    pruner.step_once()
    with supernet.active_subnet("device"):
        supernet.root(*batch())[0].square().mean().backward()
    kept = supernet.root.blocks.mask("device").tolist()
    assert kept.count(False) == 2
    for block, keep in zip(supernet.root.blocks, kept, strict=True):
        grads = [parameter.grad for parameter in block.parameters()]
        assert all(grad is not None for grad in grads)
        assert any(bool(grad.any()) for grad in grads) is keep


def test_a_reloaded_mask_leaves_out_the_same_layers():
    supernet, pruner, _, _ = build()
    pruner.step_once()
    other, _, _, _ = build()
    other.root.load_state_dict(supernet.root.state_dict())
    assert other.num_layers("device") == 2
    feats, lengths = batch()
    outputs = []
    for one in (supernet, other):
        with torch.no_grad(), one.active_subnet("device"):
            outputs.append(one.root.eval()(feats, lengths)[0])
    assert torch.equal(*outputs)
    other.root.blocks.mask("device").fill_(True)
    with pytest.raises(ConfigError, match="does not fit the layers that are kept"):
        group = other.unit_groups("device")[0]
        group.check("device")
    other.root.blocks.mask("device").fill_(False)
    with pytest.raises(ConfigError, match="0 of 4 layers are kept, at least 1 must be"):
        group.check("device")


def test_all_layers_train_while_parp_adjusts_them():
    schedule = {"kind": "constant", "begin": 2, "end": 4, "update_every": 2, "adjust": "dense"}
    supernet, pruner, _, _ = build(schedule=schedule)
    for _ in range(2):
        pruner.step_once()
    blocks = supernet.root.blocks
    with supernet.active_subnet("device"):
        assert len(blocks.running()) == 4 and len(blocks.eval().running()) == 2
        blocks.train()
        for _ in range(2):
            pruner.step_once()
        assert len(blocks.running()) == 2


@pytest.mark.parametrize("ranking", ["layer", "kind", "global"])
def test_some_layers_stay_whatever_the_ranking(ranking):
    supernet, pruner, _, _ = build(sparsity=0.7, ranking=ranking)
    with torch.no_grad():
        for parameter in supernet.root.blocks.parameters():
            parameter.zero_()
    with pytest.raises(ConfigError, match="leaves fewer than min_kept 2 layers"):
        build(sparsity=0.7, ranking=ranking, least=2)
    pruner.step_once()
    assert supernet.num_layers("device") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kinds": ["layers", "linear_units"]}, "linear_units and layers both prune"),
        ({"least": 5}, "has 4 layers, min_kept is 5"),
        ({"sparsity": 0.9}, "leaves fewer than min_kept 1 layers"),
        ({"row": {"depth": 4}}, "device.depth: mask 'device' prunes layers, too"),
        ({"schedule": {"kind": "prune_and_grow", "begin": 2, "end": 4}}, "cannot grow layers"),
        ({"schedule": {"kind": "l0", "begin": 2, "end": 4}}, "closes units.*without layers"),
        ({"name": "conformer", "row": {"encoder_conf": {"layerdrop_keep_norm": True}}},
         "prunes layers, but encoder_conf.layerdrop_keep_norm"),
    ],
)  # fmt: skip
def test_refuses(given, message):
    with pytest.raises(ConfigError, match=message):
        build(**given)


def test_copies_and_extracts_have_no_masks_of_other_rows():
    supernet, pruner, _, _ = build()
    pruner.step_once()
    with supernet.active_subnet("device"):
        small = copy.deepcopy(supernet).extract("device")
    assert not [key for key in small.state_dict() if "mask" in key]
    assert small.blocks.active_mask is None and len(small.blocks.running()) == 2
