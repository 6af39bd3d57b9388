"""One chunk through the blocks of an encoder, written for tracing.

It computes what ``encoder.block`` does for a single chunk, with concatenations where that one
writes into windows. Full context is the chunk that holds the utterance. Two things differ from the
stateful pass, for the same result: the keys in the cache are not rotated yet, and positions count
from the start of the chunk, since rotary attention depends on differences of positions only. So
the angles are constants of the graph, as exact after hours as at the start.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from espnet2_supernet.encoder.attention import ChunkAttention
from espnet2_supernet.encoder.block import ConformerBlock
from espnet2_supernet.encoder.convolution import ChunkConvolution


class Past(NamedTuple):
    """What a block remembers.

    Attributes:
        key: Keys, not rotated ``(B, H, L, D / H)``.
        value: Values ``(B, H, L, D / H)``.
        conv: Gated frames ``(B, reach, D)``; None without convolution.
    """

    key: Tensor
    value: Tensor
    conv: Tensor | None


class Chunk(NamedTuple):
    """What the frames of a chunk may see.

    Attributes:
        size: C, frames of which the past of the next chunk is made.
        valid: ``(B, S)``, True where a frame exists.
        bias: Added to the scores ``(B, 1, 1, L + S)``, minus infinity where nothing may be seen.
        angles: Cosines and signed sines ``(L + S, D / H)`` of the keys; the queries
            have the last S.
    """

    size: int
    valid: Tensor
    bias: Tensor
    angles: tuple[Tensor, Tensor]


def run_block(block: Any, x: Tensor, chunk: Chunk, past: Past) -> tuple[Tensor, Past]:
    """Run one transformer or conformer block.

    Args:
        block: The block, without masks and in eval mode.
        x: Frames of the chunk and its right context ``(B, S, D)``.
        chunk: What they may see.
        past: What the block remembers.

    Returns:
        Frames ``(B, S, D)`` and what the block remembers next.
    """
    conformer = isinstance(block, ConformerBlock)
    if conformer:
        x = x + 0.5 * block.feed_forward_macaron(block.norm_macaron(x))
    attended, key, value = _attend(block.attention, block.norm_attention(x), chunk, past)
    x, conv = x + attended, past.conv
    if conformer:
        assert conv is not None
        convolved, conv = _convolve(block.convolution, block.norm_convolution(x), chunk, conv)
        x = x + convolved
    out = block.feed_forward(block.norm_feed_forward(x))
    x = block.norm_out(x + 0.5 * out) if conformer else x + out
    return x, Past(key, value, conv)


def _attend(
    attention: ChunkAttention, x: Tensor, chunk: Chunk, past: Past
) -> tuple[Tensor, Tensor, Tensor]:
    """Attend; return frames ``(B, S, D)`` and the next keys and values."""
    heads, dim = attention.heads, attention.linear_q.out_features // attention.heads

    def split(frames: Tensor) -> Tensor:
        return frames.unflatten(-1, (heads, dim)).transpose(1, 2)

    left = past.key.size(2)
    key, value = split(attention.linear_k(x)), split(attention.linear_v(x))
    if left:
        key, value = torch.cat([past.key, key], 2), torch.cat([past.value, value], 2)
    cos, sin = chunk.angles
    query = _rotate(split(attention.linear_q(x)), cos[left:], sin[left:]) * dim**-0.5
    scores = query @ _rotate(key, cos, sin).transpose(2, 3) + chunk.bias
    out = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    keep = slice(chunk.size, chunk.size + left)
    return attention.linear_out(out), key[:, :, keep], value[:, :, keep]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([second, first], dim=-1) * sin


def _convolve(
    module: ChunkConvolution, x: Tensor, chunk: Chunk, past: Tensor
) -> tuple[Tensor, Tensor]:
    """Convolve; return frames ``(B, S, D)`` and the next past ``(B, reach, D)``."""
    x = F.glu(module.pointwise_in(x), dim=-1) * chunk.valid[..., None].to(x.dtype)
    window = torch.cat([past, x, torch.zeros_like(past)], dim=1)
    conv = module.depthwise
    out = F.conv1d(window.transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
    out = module.pointwise_out(F.silu(module.norm(out.transpose(1, 2))))
    return out, window[:, chunk.size : chunk.size + module.reach]
