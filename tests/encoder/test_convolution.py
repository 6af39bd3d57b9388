"""Dynamic chunk convolution against a plain depthwise convolution."""

import pytest
import torch
import torch.nn.functional as F

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.convolution import ChunkConvolution
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context


def plain(module: ChunkConvolution, x: torch.Tensor) -> torch.Tensor:
    """Same-padded convolution of ``x (T, D)``."""
    gated = F.glu(module.pointwise_in(x), dim=-1).t()[None]
    out = F.conv1d(
        gated,
        module.depthwise.weight,
        module.depthwise.bias,
        padding=module.reach,
        groups=x.size(1),
    )
    return module.pointwise_out(F.silu(module.norm(out[0].t())))


def chunked(module, x, context):
    layout = ChunkLayout.for_context(context, torch.tensor([len(x)]), len(x))
    out, _ = module(layout.split(x[None]), layout, x.new_zeros(1, module.reach, x.size(1)))
    return layout.join(out)[0, : len(x)]


def test_full_context_is_the_plain_convolution():
    torch.manual_seed(0)
    module, x = ChunkConvolution(8, 5).eval(), torch.randn(11, 8)
    torch.testing.assert_close(chunked(module, x, Context()), plain(module, x))


@pytest.mark.parametrize(("chunk", "right"), [(4, 0), (2, 0), (4, 1), (1, 3)])
def test_a_chunk_sees_the_real_past_and_a_zero_future(chunk, right):
    torch.manual_seed(0)
    module, x = ChunkConvolution(8, 7).eval(), torch.randn(12, 8)
    out = chunked(module, x, Context(chunk, 0, right))
    for start in range(0, 12, chunk):
        expected = plain(module, x[: start + chunk + right])[start : start + chunk]
        torch.testing.assert_close(out[start : start + chunk], expected)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="odd"):
        ChunkConvolution(8, 4)
