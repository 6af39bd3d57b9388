"""Frames that come back before a later block: streamed equals masked, and what they skip."""

from itertools import product

import pytest
import torch

from dropped_frames import AHEAD, CONTEXTS, ENCODERS, Told, assert_same, features, some
from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context

torch.set_num_threads(1)

BLOCKS = [(1, 2), (1, 3), (2, 3), (1, 3, True), (2, 3, True)]


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


@pytest.fixture
def conformer():
    torch.manual_seed(0)
    return ENCODERS["conformer"]().eval()


@torch.no_grad()
def masked(encoder, feats, lengths, context, keep, compacted, *blocks):
    """Every utterance, without its padding."""
    frames, lengths = encoder.subsample(feats, lengths)
    keep = keep[:, : frames.size(1)] & (torch.arange(frames.size(1)) < lengths[:, None])
    out, sizes = encoder.encode_frames(frames, lengths, context, keep, compacted, *blocks)
    assert sizes.tolist() == lengths.tolist()
    return [one[:n] for one, n in zip(out, sizes, strict=True)]


def streamed(encoder, feats, context, keeper, size):
    state, out = encoder.init_state(context, len(feats), keeper), []
    for piece in feats.split(size, dim=1):
        frames, state = encoder.stream(piece, state)
        out.append(frames)
        assert state.times is None
    frames, _ = encoder.stream(feats[:, :0], state, is_final=True)
    return torch.cat([*out, frames], dim=1)


@pytest.mark.parametrize("compacted", [False, True], ids=["original", "compacted"])
@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.describe(1))
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
def test_streamed_equals_masked(encoder, context, blocks, compacted):
    torch.manual_seed(1)
    feats, lengths = features(17_777)
    keep = some(120, 0.5)
    keep[:, 20:45] = False  # chunks of which nothing is left but what comes back
    alone = masked(encoder, feats, lengths, context, keep, compacted, *blocks)
    for size in (3, 16, 200):
        keeper = Told(keep, compacted, *blocks)
        assert_same(streamed(encoder, feats, context, keeper, size), alone)


def test_streams_that_advance_together(encoder):
    torch.manual_seed(3)
    feats, lengths = features(16_000, 16_000, 16_000)
    keep = torch.stack([some(120, ratio)[0] for ratio in (0.2, 0.6, 1.0)])
    for blocks in ((2, 3), (2, 3, True)):
        together = masked(encoder, feats, lengths, AHEAD, keep, False, *blocks)
        assert_same(streamed(encoder, feats, AHEAD, Told(keep, False, *blocks), 17), together)


@pytest.mark.parametrize("blocks", [(1, 3), (1, 3, True)], ids=str)
@pytest.mark.parametrize("context", [Context(), AHEAD], ids=str)
def test_padding_changes_nothing(encoder, context, blocks):
    torch.manual_seed(2)
    feats, lengths = features(3_000, 9_000, 16_000, 1_100)
    keep = some(120, 0.5, batch=4)
    together = masked(encoder, feats, lengths, context, keep, False, *blocks)
    for i, n in enumerate(lengths.tolist()):
        one = slice(i, i + 1)
        alone = masked(encoder, feats[one, :n], lengths[one], context, keep[one], False, *blocks)
        assert_same([together[i]], alone)


@pytest.mark.parametrize("context", [Context(), *CONTEXTS], ids=lambda c: c.describe(1))
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
def test_to_keep_all_changes_nothing(encoder, context, blocks):
    torch.manual_seed(4)
    feats, lengths = features(9_000, 16_000)
    plain, sizes, _ = encoder(feats, lengths, context=context)
    found = masked(encoder, feats, lengths, context, some(120, 2.0, batch=2), False, *blocks)
    assert_same(found, [x[:n] for x, n in zip(plain, sizes, strict=True)])


@pytest.mark.parametrize("with_change", [False, True])
@torch.no_grad()
def test_frames_that_come_back_have_skipped_the_blocks_between(conformer, with_change):
    """By definition: kept frames through the second block alone, the others around it."""
    first, second, third = conformer.blocks
    norm, conformer.norm = conformer.norm, torch.nn.Identity()

    def through(block, frames):
        del conformer.blocks[:]
        conformer.blocks.append(block)
        return conformer.encode_frames(frames, torch.tensor([frames.size(1)]))[0]

    frames, lengths, keep = torch.randn(1, 30, 16), torch.tensor([30]), some(30, 0.5)
    expected = through(first, frames)
    before = expected.clone()
    expected[:, keep[0]] = through(second, expected[:, keep[0]])
    for t in range(1, 30) if with_change else ():
        if not keep[0, t]:
            expected[:, t] = before[:, t] + (expected[:, t - 1] - before[:, t - 1])
    expected = norm(through(third, expected))
    del conformer.blocks[:]
    conformer.blocks.extend([first, second, third])
    conformer.norm = norm
    found, _ = conformer.encode_frames(frames, lengths, None, keep, True, 2, 3, with_change)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_change_stays_in_its_chunk(conformer):
    """Frames before the first kept one of their chunk come back as they were, padding or not."""
    context, keep = Context(chunk_size=4, left_context=4, right_context=2), some(14, -1.0)
    keep[:, [0, 6, 9]] = True
    conformer.norm = torch.nn.Identity()
    del conformer.blocks[2:]
    frames = torch.randn(1, 14, 16)
    last, changed = conformer.blocks[1], []

    def encode(with_change):
        where = (False, 1, 2, with_change)
        return conformer.encode_frames(frames, torch.tensor([14]), context, keep, *where)[0]

    hook = last.register_forward_pre_hook(lambda _, args: changed.append(args[0].clone()))
    encode(False), encode(True)
    hook.remove()
    unchanged, found = changed
    moved = (found - unchanged).abs().amax(-1) > 1e-4
    assert moved[0].int().tolist() == [
        [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]
    ]  # fmt: skip


@pytest.mark.parametrize("blocks", [(1, 3), (1, 3, True)], ids=str)
@pytest.mark.parametrize("right", [0, 2])
def test_nothing_beyond_the_look_ahead_matters(encoder, right, blocks):
    torch.manual_seed(6)
    context, chunk = Context(chunk_size=5, left_context=10, right_context=right), 5
    feats, lengths = features(20_000)
    keep = some(160, 0.6)
    [before] = masked(encoder, feats, lengths, context, keep, False, *blocks)
    for k in (1, 3):
        last = (k * chunk + chunk + right) * encoder.subsampling_factor
        changed = torch.cat([feats[:, :last], torch.randn_like(feats[:, last:])], dim=1)
        [after] = masked(encoder, changed, lengths, context, keep, False, *blocks)
        known = (k + 1) * chunk
        torch.testing.assert_close(after[:known], before[:known])
        assert (after[known:] - before[known:]).abs().max() > 1e-3


@pytest.mark.parametrize("with_change", [False, True])
@pytest.mark.parametrize("context", [Context(), AHEAD], ids=str)
def test_gradients_reach_all_frames_and_blocks(conformer, context, with_change):
    conformer.train()
    lengths, keep = torch.tensor([20, 12]), some(20, 0.5, batch=2)
    keep[1, 12:] = False
    frames = torch.randn(2, 20, 16, requires_grad=True)
    out, _ = conformer.encode_frames(frames, lengths, context, keep, False, 1, 3, with_change)
    out.square().sum().backward()
    real = torch.arange(20) < lengths[:, None]
    assert torch.equal(frames.grad.abs().sum(-1) > 0, real)
    for block in conformer.blocks:
        assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_a_block_left_out_still_counts():
    """LayerDrop of the block before which frames come back: they come back all the same."""
    conformer = SupernetConformerEncoder(
        20, 16, 2, 32, num_blocks=2, subsampling_channels=4, layerdrop=0.99
    ).train()
    conformer.layer_drop.draw("step-1")
    assert conformer.layer_drop.leaves_out(1)
    frames, lengths = torch.randn(1, 30, 16), torch.tensor([30])
    out, sizes = conformer.encode_frames(frames, lengths, AHEAD, some(30, 0.5), False, 1, 2)
    assert out.size(1) == int(sizes) == 30


def test_an_utterance_that_keeps_nothing_skips_the_blocks(encoder):
    keep, frames = torch.zeros(2, 10, dtype=torch.bool), torch.randn(2, 10, 16)
    for kept, with_change in product((False, True), repeat=2):
        keep[1, 3] = kept
        for context in (Context(), AHEAD):
            out, lengths = encoder.encode_frames(
                frames, torch.tensor([10, 10]), context, keep, False, 2, 3, with_change
            )
            assert lengths.tolist() == [10, 10] and out.isfinite().all() and out[0].any()


def test_blocks_that_do_not_run_are_named(conformer):
    args = (torch.randn(1, 9, 16), torch.tensor([9]), AHEAD, some(9, 0.5), False)
    for blocks, key in (((4, 5), "before_block: 4"), ((2, 4), "restore_before_block: 4")):
        with pytest.raises(ConfigError, match=f"tokens.{key}, but the subnet runs 3 blocks"):
            conformer.encode_frames(*args, *blocks)
