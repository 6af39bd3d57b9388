"""Windows over chunks against sliding views."""

import pytest
import torch

from espnet2_supernet.encoder.windows import last_frames, windows

SIZES = [(4, 0, 0, 0), (4, 4, 0, 0), (4, 9, 0, 3), (4, 3, 2, 0), (1, 5, 3, 1), (5, 12, 0, 2)]


def sliding(chunks: torch.Tensor, past: torch.Tensor, chunk: int, after: int) -> torch.Tensor:
    """The definition, frame by frame."""
    frames = torch.cat([past, chunks[..., :chunk, :].flatten(-3, -2)], dim=-2)
    rows = []
    for k in range(chunks.size(-3)):
        before = frames[..., k * chunk : k * chunk + past.size(-2), :]
        zeros = chunks.new_zeros(*chunks.shape[:-3], after, chunks.size(-1))
        rows.append(torch.cat([before, chunks[..., k, :, :], zeros], dim=-2))
    return torch.stack(rows, dim=-3)


@pytest.mark.parametrize(("chunk", "left", "right", "after"), SIZES)
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_windows_and_their_gradients(chunk, left, right, after, lead):
    torch.manual_seed(0)
    chunks = torch.randn(*lead, 3, chunk + right, 2, requires_grad=True)
    past = torch.randn(*lead, left, 2, requires_grad=True)
    expected = sliding(chunks, past, chunk, after)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), (chunks, past), allow_unused=True)
    out = windows(chunks, past, chunk, after)
    torch.testing.assert_close(out, expected)
    given = torch.autograd.grad((out * weights).sum(), (chunks, past), allow_unused=True)
    torch.testing.assert_close(given[0], wanted[0])
    if left:
        torch.testing.assert_close(given[1], wanted[1])
    with torch.no_grad():
        torch.testing.assert_close(windows(chunks, past, chunk, after), expected)


@pytest.mark.parametrize("left", [0, 1, 4, 11, 20])
def test_the_past_of_the_next_chunk(left):
    chunks, past = torch.randn(2, 3, 5, 2), torch.randn(2, left, 2)
    frames = torch.cat([past, chunks[:, :, :4].flatten(1, 2)], dim=1)
    out = last_frames(chunks, past, 4)
    torch.testing.assert_close(out, frames[:, frames.size(1) - left :])


def test_the_past_takes_the_type_of_the_chunks():
    chunks = torch.randn(2, 3, 4, dtype=torch.bfloat16)
    assert windows(chunks, torch.zeros(2, 4), 3).dtype == torch.bfloat16
    assert last_frames(chunks[:1], torch.zeros(5, 4), 3).dtype == torch.bfloat16
