"""Frames dropped before a later block: streamed equals masked, and what the first blocks see."""

import pytest
import torch

from dropped_frames import (
    AHEAD,
    CONTEXTS,
    ENCODERS,
    Told,
    assert_same,
    features,
    masked,
    some,
    streamed,
)
from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.depth import Depth

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


@pytest.fixture
def conformer():
    torch.manual_seed(0)
    return ENCODERS["conformer"]().eval()


@pytest.mark.parametrize("compacted", [False, True], ids=["original", "compacted"])
@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.describe(1))
@pytest.mark.parametrize("before_block", [2, 3])
def test_streamed_equals_masked(encoder, context, before_block, compacted):
    torch.manual_seed(1)
    feats, lengths = features(17_777)
    keep = some(120, 0.5)
    keep[:, 20:45] = False  # chunks of which nothing is left, but the first blocks remember them
    alone, times = masked(encoder, feats, lengths, context, keep, compacted, before_block)
    if context.left_context:
        [first], _ = masked(encoder, feats, lengths, context, keep, compacted)
        assert (alone[0] - first).abs().max() > 1e-3
    for pieces in ([16], [3, 41, 0, 1], [200]):
        keeper = Told(keep, compacted, before_block)
        found, when = streamed(encoder, feats, context, keeper, pieces)
        assert_same(found, alone)
        assert_same(when, times)


@pytest.mark.parametrize("context", [Context(), AHEAD], ids=str)
def test_padding_changes_nothing(encoder, context):
    torch.manual_seed(2)
    sizes = (3_000, 9_000, 16_000, 1_100)
    feats, lengths = features(*sizes)
    keep = some(120, 0.5, batch=4)
    together, _ = masked(encoder, feats, lengths, context, keep, False, 2)
    for i, n in enumerate(lengths.tolist()):
        one = masked(encoder, feats[i : i + 1, :n], lengths[i : i + 1], context, keep[i : i + 1],
                     False, 2)  # fmt: skip
        assert_same([together[i]], one[0])


def test_streams_that_advance_together(encoder):
    torch.manual_seed(3)
    feats, lengths = features(16_000, 16_000, 16_000)
    keep = torch.stack([some(120, ratio)[0] for ratio in (0.2, 0.6, 1.0)])
    together, times = masked(encoder, feats, lengths, AHEAD, keep, False, 2)
    found, when = streamed(encoder, feats, AHEAD, Told(keep, False, 2), [17])
    assert_same(found, together)
    assert_same(when, times)


@pytest.mark.parametrize("context", [Context(), *CONTEXTS], ids=lambda c: c.describe(1))
def test_to_keep_all_changes_nothing(encoder, context):
    torch.manual_seed(4)
    feats, lengths = features(9_000, 16_000)
    plain, out_lengths, _ = encoder(feats, lengths, context=context)
    found, _ = masked(encoder, feats, lengths, context, some(120, 2.0, batch=2), False, 2)
    assert_same(found, [x[:n] for x, n in zip(plain, out_lengths, strict=True)])


@pytest.mark.parametrize("context", [Context(), AHEAD], ids=str)
def test_before_block_one_is_the_rule_without_it(encoder, context):
    torch.manual_seed(5)
    feats, lengths = features(9_000, 16_000)
    keep = some(120, 0.5, batch=2)
    for one, other in zip(
        masked(encoder, feats, lengths, context, keep)[0],
        masked(encoder, feats, lengths, context, keep, False, 1)[0],
        strict=True,
    ):
        assert torch.equal(one, other)


def test_the_last_block_alone_misses_frames(conformer):
    """By definition: the output of the blocks before it, computed of all frames, gathered."""
    frames, lengths, keep = torch.randn(1, 30, 16), torch.tensor([30]), some(30, 0.5)
    with torch.no_grad():
        found, _ = conformer.encode_frames(frames, lengths, None, keep, True, 3)
        last = conformer.blocks[2]
        del conformer.blocks[2]
        norm, conformer.norm = conformer.norm, torch.nn.Identity()
        gathered = conformer.encode_frames(frames, lengths)[0][:, keep[0]]
        del conformer.blocks[:]
        conformer.blocks.append(last)
        conformer.norm = norm
        expected, _ = conformer.encode_frames(gathered, torch.tensor([gathered.size(1)]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("right", [0, 2])
def test_nothing_beyond_the_look_ahead_matters(encoder, right):
    torch.manual_seed(6)
    context, chunk = Context(chunk_size=5, left_context=10, right_context=right), 5
    feats, lengths = features(20_000)
    keep = some(160, 0.6)
    keep[:, :30] = True
    [before], [times] = masked(encoder, feats, lengths, context, keep, False, 2)
    for k in (1, 3):
        last = (k * chunk + chunk + right) * encoder.subsampling_factor
        changed = torch.cat([feats[:, :last], torch.randn_like(feats[:, last:])], dim=1)
        [after], _ = masked(encoder, changed, lengths, context, keep, False, 2)
        known = times < (k + 1) * chunk
        torch.testing.assert_close(after[known], before[known])
        assert (after[~known] - before[~known]).abs().max() > 1e-3


@pytest.mark.parametrize("context", [Context(), AHEAD], ids=str)
def test_gradients_reach_all_frames_and_blocks(conformer, context):
    conformer.train()
    lengths, keep = torch.tensor([20, 12]), some(20, 0.5, batch=2)
    keep[1, 12:] = False
    frames = torch.randn(2, 20, 16, requires_grad=True)
    out, _ = conformer.encode_frames(frames, lengths, context, keep, False, 3)
    out.square().sum().backward()
    real = torch.arange(20) < lengths[:, None]
    assert torch.equal(frames.grad.abs().sum(-1) > 0, real)
    for block in conformer.blocks:
        assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_blocks_are_those_that_the_subnet_runs(conformer):
    """Of blocks 1 and 3, the second is block 3."""
    frames, lengths, keep = torch.randn(1, 30, 16), torch.tensor([30]), some(30, 0.5)
    with torch.no_grad():
        conformer.blocks.depth = Depth(2, "spread")
        kept = conformer.blocks.running()
        found, _ = conformer.encode_frames(frames, lengths, AHEAD, keep, False, 2)
        with pytest.raises(ConfigError, match="before_block: 3, but the subnet runs 2 blocks"):
            conformer.encode_frames(frames, lengths, AHEAD, keep, False, 3)
        conformer.blocks.depth = None
        del conformer.blocks[:]
        conformer.blocks.extend(kept)
        torch.testing.assert_close(
            found, conformer.encode_frames(frames, lengths, AHEAD, keep, False, 2)[0]
        )


def test_a_block_left_out_still_counts():
    """LayerDrop of the block before which frames are dropped: they are dropped all the same."""
    conformer = SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, subsampling_channels=4, layerdrop=0.99
    ).train()
    conformer.layer_drop.draw("step-1")
    assert conformer.layer_drop.leaves_out(1)
    keep = some(30, 0.5)
    out, lengths = conformer.encode_frames(
        torch.randn(1, 30, 16), torch.tensor([30]), AHEAD, keep, False, 2
    )
    assert out.size(1) == int(lengths) == int(keep.sum())


def test_an_utterance_that_keeps_nothing(encoder):
    keep = torch.zeros(2, 10, dtype=torch.bool)
    for kept in (0, 1):
        keep[1, 3] = bool(kept)
        for context in (Context(), AHEAD):
            out, lengths = encoder.encode_frames(
                torch.randn(2, 10, 16), torch.tensor([10, 10]), context, keep, False, 2
            )
            assert lengths.tolist() == [0, kept] and out.shape == (2, kept, 16)
            assert out.isfinite().all()
