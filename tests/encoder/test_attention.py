"""The chunked layout against plain attention with an explicit mask."""

import pytest
import torch

from espnet2_supernet.encoder.attention import ChunkAttention
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.rotary import rotary_tables, rotate
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context


def plain_attention(module: ChunkAttention, x: torch.Tensor, attn_mask: torch.Tensor):
    """Softmax attention over absolute positions: ``x (T, D)``, ``attn_mask (T, T)``."""
    length, dim = x.size(0), x.size(1) // module.heads
    cos, sin = rotary_tables(torch.arange(length), module.heads, dim)

    def heads(y):
        return y.unflatten(-1, (module.heads, dim)).transpose(0, 1)

    q, k = (rotate(m(x), cos, sin, module.heads) for m in (module.linear_q, module.linear_k))
    q, k, v = (heads(y) for y in (q, k, module.linear_v(x)))
    scores = q @ k.transpose(1, 2) / dim**0.5
    weights = scores.masked_fill(~attn_mask, -torch.inf).softmax(-1)
    return module.linear_out((weights @ v).transpose(0, 1).flatten(1))


@pytest.mark.parametrize(("chunk", "left"), [(4, 0), (4, 3), (3, 8), (7, 5)])
def test_equals_attention_under_a_chunk_mask(chunk, left):
    torch.manual_seed(0)
    length, module = 19, ChunkAttention(16, 2).eval()
    x = torch.randn(length, 16)
    layout = ChunkLayout.for_context(Context(chunk, left), torch.tensor([length]), length)
    past = torch.zeros(1, 2, left, 8)
    out, _ = module(layout.split(x[None]), layout, (past, past))
    start = torch.arange(length)[:, None] // chunk * chunk
    key = torch.arange(length)[None]
    attn_mask = (key >= start - left) & (key < start + chunk)
    expected = plain_attention(module, x, attn_mask)
    torch.testing.assert_close(layout.join(out)[0, :length], expected, atol=1e-5, rtol=1e-4)


def test_full_context_equals_plain_attention():
    torch.manual_seed(0)
    x, module = torch.randn(9, 16), ChunkAttention(16, 4).eval()
    layout = ChunkLayout.for_context(Context(), torch.tensor([9]), 9)
    out, _ = module(layout.split(x[None]), layout, (x.new_zeros(1, 4, 0, 4),) * 2)
    expected = plain_attention(module, x, torch.ones(9, 9, dtype=torch.bool))
    torch.testing.assert_close(out[0, 0], expected, atol=1e-5, rtol=1e-4)


def test_right_context_is_attended_in_its_own_chunk():
    """A chunk's frames equal plain attention over left context, chunk and look-ahead."""
    torch.manual_seed(1)
    chunk, left, right, length = 4, 4, 2, 14
    x, module = torch.randn(length, 16), ChunkAttention(16, 2).eval()
    layout = ChunkLayout.for_context(Context(chunk, left, right), torch.tensor([length]), length)
    past = torch.zeros(1, 2, left, 8)
    out, _ = module(layout.split(x[None]), layout, (past, past))
    window = x[0:10]  # chunk 1 is frames 4..7, sees 0..9
    expected = plain_attention(module, window, torch.ones(10, 10, dtype=torch.bool))[4:]
    torch.testing.assert_close(out[0, 1], expected, atol=1e-5, rtol=1e-4)


def test_padding_chunks_are_finite():
    module = ChunkAttention(8, 2).eval()
    layout = ChunkLayout.for_context(Context(2, 0), torch.tensor([1, 6]), 6)
    past = torch.zeros(2, 2, 0, 4)
    out, _ = module(layout.split(torch.randn(2, 6, 8)), layout, (past, past))
    assert out.isfinite().all()


def test_odd_heads_are_refused():
    with pytest.raises(ConfigError, match="attention_heads"):
        ChunkAttention(10, 4)
