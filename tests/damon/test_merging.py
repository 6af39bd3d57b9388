"""Merging of dropped frames: means by definition, in pieces as at once, with gradients."""

import pytest
import torch

from espnet2_supernet.damon.merging import merge_dropped

torch.set_num_threads(1)


def by_definition(frames, keep):
    """Kept frames of one utterance (T, D) as means with the dropped ones before them."""
    merged, start = frames.clone(), 0
    for place in keep.nonzero().flatten().tolist():
        merged[place] = frames[start : place + 1].mean(0)
        start = place + 1
    return merged


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(3, 41, 5), torch.rand(3, 41) < torch.tensor([[0.5], [0.1], [0.9]])


def test_means(batch):
    frames, keep = batch
    merged, _ = merge_dropped(frames, keep)
    for one, kept, found in zip(frames, keep, merged, strict=True):
        assert 0 < kept.sum() < 41
        torch.testing.assert_close(found, by_definition(one, kept))


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_pieces_give_what_the_whole_gives(batch, size):
    frames, keep = batch
    whole, rest = merge_dropped(frames, keep)
    carried, found = None, []
    for start in range(0, 41, size):
        part = slice(start, start + size)
        piece, carried = merge_dropped(frames[:, part], keep[:, part], carried)
        found.append(piece)
    torch.testing.assert_close(torch.cat(found, 1), whole)
    torch.testing.assert_close(carried.total, rest.total)
    assert torch.equal(carried.count, rest.count)


def test_nothing_dropped_and_nothing_kept(batch):
    frames, keep = batch
    merged, rest = merge_dropped(frames, torch.ones_like(keep))
    assert torch.equal(merged, frames) and not rest.total.any() and not rest.count.any()
    merged, rest = merge_dropped(frames, torch.zeros_like(keep))
    assert torch.equal(merged, frames) and rest.count.tolist() == [41, 41, 41]
    torch.testing.assert_close(rest.total, frames.sum(1))


def test_dropped_frames_have_gradients(batch):
    frames, keep = batch
    frames.requires_grad_()
    merged, _ = merge_dropped(frames, keep)
    merged[0][keep[0]].sum().backward()
    last = int(keep[0].nonzero().max())
    assert (frames.grad[0, : last + 1] > 0).all()
    assert not frames.grad[0, last + 1 :].any() and not frames.grad[1:].any()
