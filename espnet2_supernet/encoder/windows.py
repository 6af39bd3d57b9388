"""Windows over chunks: each chunk with the frames before it, built and differentiated in one go.

Sliding views (``Tensor.unfold``) and a concatenation would do the same, but took 2.4 times as long
on one core of an EPYC (``tests/benchmarks/bench_chunk_pass.py``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def windows(chunks: Tensor, past: Tensor, chunk_size: int, after: int = 0) -> Tensor:
    """Put the frames before each chunk in front of it.

    Args:
        chunks: ``(..., K, S, D)``; the first ``chunk_size`` frames of each are consecutive frames
            of the utterance, the other S - ``chunk_size`` are copies of those that follow.
        past: ``(..., n, D)``, the n frames before the first chunk.
        chunk_size: C.
        after: Zero frames to append to each chunk.

    Returns:
        ``(..., K, n + S + after, D)``.
    """
    if past.size(-2) == 0 and after == 0:
        return chunks
    if torch.is_grad_enabled() and chunks.requires_grad:
        return _Windows.apply(chunks, past, chunk_size, after)
    return _copy(chunks, past, chunk_size, after)


def last_frames(chunks: Tensor, past: Tensor, chunk_size: int) -> Tensor:
    """The past of the chunk that would follow, as long as ``past``: ``(..., n, D)``."""
    width = past.size(-2)
    frames = chunks[..., :chunk_size, :].flatten(-3, -2)
    if frames.size(-2) < width:
        frames = torch.cat([past.to(frames.dtype), frames], dim=-2)
    return frames[..., frames.size(-2) - width :, :]


def take_frames(source: Tensor, index: Tensor) -> Tensor:
    """Gather frames.

    Args:
        source: ``(B, ..., M, D)``.
        index: Numbers of frames of each of the B ``(B, N)``.

    Returns:
        ``(B, ..., N, D)``.
    """
    size, flat = source.size(-2), source.reshape(-1, source.size(-1))
    starts = torch.arange(flat.size(0) // size, device=index.device) * size
    starts = starts.view(*source.shape[:-2], 1)
    index = starts + index.view(len(index), *[1] * (source.dim() - 3), -1)
    rows = flat.index_select(0, index.flatten())
    return rows.view(*index.shape, source.size(-1))


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, chunks: Tensor, past: Tensor, chunk_size: int, after: int) -> Tensor:
        ctx.sizes = (past.size(-2), chunks.size(-2), chunk_size)
        return _copy(chunks, past, chunk_size, after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        width, span, chunk_size = ctx.sizes
        num_chunks = grad.size(-3)
        overlap = -(-width // chunk_size)  # windows that reach into one chunk
        shape = (*grad.shape[:-3], num_chunks + overlap, chunk_size, grad.size(-1))
        blocks = grad.new_zeros(shape)
        for shift in range(overlap):
            start = shift * chunk_size
            length = min(chunk_size, width - start)
            part = grad[..., start : start + length, :]
            blocks[..., shift : shift + num_chunks, :length, :] += part
        frames = blocks.flatten(-3, -2)
        grad_chunks = grad[..., width : width + span, :].clone()
        own = frames[..., width : width + num_chunks * chunk_size, :]
        grad_chunks[..., :chunk_size, :] += own.unflatten(-2, (num_chunks, chunk_size))
        grad_past = frames[..., :width, :] if ctx.needs_input_grad[1] else None
        return grad_chunks, grad_past, None, None


def _copy(chunks: Tensor, past: Tensor, chunk_size: int, after: int) -> Tensor:
    num_chunks, span, dim = chunks.shape[-3:]
    width = past.size(-2)
    out = chunks.new_empty(*chunks.shape[:-2], width + span + after, dim)
    out[..., width : width + span, :] = chunks
    out[..., width + span :, :] = 0
    if width:
        frames = chunks[..., :chunk_size, :].flatten(-3, -2)
        frames = torch.cat([past.to(chunks.dtype), frames], dim=-2)
        before = frames.unfold(-2, width, chunk_size)[..., :num_chunks, :, :]
        out[..., :width, :] = before.transpose(-1, -2)
    return out
