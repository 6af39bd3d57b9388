"""How an utterance is cut into chunks.

One layout serves all three passes. The *masked pass* cuts the whole utterance into K chunks and
computes them side by side; the *stateful pass* computes the chunks as they arrive, and a state
stands in for what came before; the *full-context* pass is one chunk that covers the utterance.
That streamed equals masked is therefore a property of the layout, not of each layer.

A chunk of C frames carries copies of the R frames that follow it (its right context). The copies
are computed again in every layer from what their chunk may see, so that the look-ahead stays R
frames however deep the encoder is (hard copy of the right context: Emformer, arXiv 2010.10759).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from espnet2_supernet.encoder.rotary import rotary_tables
from espnet2_supernet.encoder.windows import last_frames, windows
from espnet2_supernet.supernet.context import Context


@dataclass(frozen=True)
class ChunkLayout:
    """Geometry of a batch of chunks; S = ``chunk_size + right_context``.

    Attributes:
        chunk_size: C, frames that a chunk contributes to the output.
        left_context: L, earlier frames that attention may use.
        right_context: R, copied look-ahead frames at the end of each chunk.
        valid: ``(B, K, S)``, True where a frame exists.
        num_past: Frames of the utterance before the first chunk of this layout.
    """

    chunk_size: int
    left_context: int
    right_context: int
    valid: Tensor
    num_past: int = 0

    @classmethod
    def for_context(cls, context: Context, lengths: Tensor, max_length: int) -> ChunkLayout:
        """Lay out whole utterances.

        Args:
            context: Sizes in encoder frames; full context is one chunk.
            lengths: Frames of each utterance ``(B,)``.
            max_length: Frames of the padded batch.
        """
        if context.chunk_size is None:
            chunk, left, right = max_length, 0, 0
        else:
            chunk, left, right = context.chunk_size, context.left_context, context.right_context
        num_chunks = -(-max_length // chunk)
        starts = torch.arange(num_chunks, device=lengths.device) * chunk
        index = starts[:, None] + torch.arange(chunk + right, device=lengths.device)
        return cls(chunk, left, right, index[None] < lengths[:, None, None])

    def after(self, num_past: int) -> ChunkLayout:
        """The same chunks, ``num_past`` frames into the utterance."""
        return replace(self, num_past=num_past)

    def split(self, frames: Tensor) -> Tensor:
        """Cut ``(B, T, D)`` into chunks with their right context: ``(B, K, S, D)``."""
        num_chunks, span = self.valid.shape[1:]
        missing = (num_chunks - 1) * self.chunk_size + span - frames.size(1)
        frames = torch.nn.functional.pad(frames, (0, 0, 0, missing))
        return frames.unfold(1, span, self.chunk_size).transpose(2, 3)

    def join(self, chunks: Tensor) -> Tensor:
        """Inverse of :meth:`split` without the copies: ``(B, K, S, D)`` to ``(B, K * C, D)``."""
        return chunks[:, :, : self.chunk_size].flatten(1, 2)

    def positions(self) -> Tensor:
        """Position of every frame in its utterance ``(K, S)``, copies included."""
        num_chunks, span = self.valid.shape[1:]
        starts = torch.arange(num_chunks, device=self.valid.device) * self.chunk_size
        steps = torch.arange(span, device=self.valid.device)
        return self.num_past + starts[:, None] + steps

    def rotary(self, heads: int, dim: int, pairs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the rotary tables of all positions, once for all layers of equal heads.

        Args:
            heads: As of :func:`rotary_tables`, which says what is returned.
            dim: The same.
            pairs: The same; with them nothing is remembered.
        """
        if pairs is not None:
            return rotary_tables(self.positions(), heads, dim, pairs)
        if (heads, dim) not in self._rotary:
            self._rotary[heads, dim] = rotary_tables(self.positions(), heads, dim)
        return self._rotary[heads, dim]

    def key_mask(self) -> Tensor:
        """Which of the L + S keys each chunk may attend: ``(B, K, L + S)``, True = may.

        A chunk that lies wholly in the padding may attend its own frames, since softmax over
        nothing is not a number; its output is never used.
        """
        return self._key_mask

    @cached_property
    def _rotary(self) -> dict[tuple[int, int], tuple[Tensor, Tensor]]:
        return {}

    @cached_property
    def _key_mask(self) -> Tensor:
        batch = self.valid.size(0)
        left = torch.arange(self.left_context, device=self.valid.device) - self.left_context
        exists = (self.positions()[:, :1] + left >= 0).expand(batch, -1, -1)
        own = self.valid | ~self.valid.any(-1, keepdim=True)
        return torch.cat([exists, own], dim=-1)

    def keys(self, chunks: Tensor, past: Tensor) -> Tensor:
        """Put the frames of the left context before each chunk.

        Args:
            chunks: ``(B, H, K, S, d)``.
            past: Of the L frames before the first chunk ``(B, H, L, d)``.

        Returns:
            ``(B, H, K, L + S, d)``.
        """
        return windows(chunks, past, self.chunk_size)

    def window(self, chunks: Tensor, past: Tensor, after: int = 0) -> Tensor:
        """Put the frames before each chunk in front of it; see :func:`windows`."""
        return windows(chunks, past, self.chunk_size, after)

    def last_frames(self, chunks: Tensor, past: Tensor) -> Tensor:
        """The past of the chunk that would follow, as long as ``past``: ``(B, ..., n, D)``."""
        return last_frames(chunks, past, self.chunk_size)
