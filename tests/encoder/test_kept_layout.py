"""The layout of dropped frames: which keys attention sees, and how frames are put in chunks."""

import itertools

import torch

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.kept import KeptLayout
from espnet2_supernet.supernet.context import Context

torch.set_num_threads(1)


def test_attention_sees_what_is_left_of_the_left_context():
    """By definition: a key counts if it is kept and lies in the window of the chunk."""
    context = Context(chunk_size=3, left_context=4, right_context=2)
    torch.manual_seed(0)
    keep = torch.rand(3, 20) < 0.6
    keep[2, 14:] = False
    layout = KeptLayout.build(context, keep, 7)
    times = torch.arange(20).expand(3, -1)[:, None, :, None].float()
    chunks = layout.split(times[:, 0])[:, None]
    keys = layout.keys(chunks, torch.full((3, 1, 4, 1), -1.0))[:, 0, :, :, 0]
    allowed = layout.key_mask()
    for b, k in itertools.product(range(3), range(7)):
        window = set(range(max(0, 3 * k - 4), 3 * k + 5))
        expected = [t for t in range(20) if keep[b, t] and t in window]
        if layout.valid[b, k].any():
            assert keys[b, k][allowed[b, k]].int().tolist() == expected
    assert layout.join(chunks[:, 0]).shape == (3, int(keep.sum(1).max()), 1)


def test_the_plain_layout_is_the_one_without_dropping():
    context = Context(chunk_size=3, left_context=4, right_context=2)
    plain = ChunkLayout.for_context(context, torch.tensor([11]), 11)
    kept = KeptLayout.build(context, torch.ones(1, 11, dtype=torch.bool), 4)
    frames = torch.randn(1, 11, 2)
    torch.testing.assert_close(kept.split(frames)[kept.valid], plain.split(frames)[plain.valid])
    assert torch.equal(kept.valid, plain.valid)
