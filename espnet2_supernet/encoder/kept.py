"""Chunks of the frames that a keep rule leaves.

Frames are dropped before a block, the others are gathered: every layer from there on computes
fewer of them. Chunks are those of the utterance, C frames of it each, whatever is left of them; a
chunk sees what is left of the L frames before it and of the R frames after it. So no output waits
for a later sample than without the rule, and the latency is the same.

A :class:`KeptLayout` takes the place of a :class:`ChunkLayout`. A chunk has S slots: its own kept
frames, then copies of those of its right context, then nothing. Kept frames of an utterance are
numbered from 0; frame j follows frame j - 1, however far apart they were: convolutions slide over
them, and rotary positions are those in the utterance or these numbers, as wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.kept_past import NEVER, KeptPast
from espnet2_supernet.encoder.windows import take_frames
from espnet2_supernet.supernet.context import Context


@dataclass(frozen=True)
class KeptLayout(ChunkLayout):
    """Geometry of a batch of chunks of kept frames; make it with :meth:`build`.

    Attributes:
        order: Frame numbers, from the first frame of this layout, of the kept frames ``(B, T)``.
        first: Number of the first kept frame of each chunk, from that of this layout ``(B, K)``.
        own: Kept frames of each chunk ``(B, K)``.
        past: What was kept before.
        compacted: Positions are numbers of kept frames; else frame numbers of the utterance.
        tables: Tables of slots already made, by width.
    """

    order: Tensor = field(kw_only=True)
    first: Tensor = field(kw_only=True)
    own: Tensor = field(kw_only=True)
    past: KeptPast = field(kw_only=True)
    compacted: bool = field(kw_only=True)
    tables: dict[int, Tensor] = field(default_factory=dict, kw_only=True)

    @classmethod
    def build(
        cls,
        context: Context,
        keep: Tensor,
        num_chunks: int,
        compacted: bool = False,
        num_past: int = 0,
        past: KeptPast | None = None,
    ) -> KeptLayout:
        """Lay out kept frames.

        Args:
            context: Sizes in frames of the utterance; full context is one chunk.
            keep: Which frames are kept ``(B, T)``; none beyond an utterance's end.
            num_chunks: K, so many chunks from the first frame on.
            compacted: Which positions frames have.
            num_past: Frames of the utterance before the first of these.
            past: What was kept of them; nothing when None.
        """
        max_length = keep.size(1)
        chunk = context.chunk_size or max_length
        starts = torch.arange(num_chunks, device=keep.device) * chunk
        before = pad(keep.cumsum(1), (1, 0))
        first, ends, rights = (
            before[:, (starts + reach).clamp(max=max_length)]
            for reach in (0, chunk, chunk + context.right_context)
        )
        slots = torch.arange(max(1, int((rights - first).max())), device=keep.device)
        return cls(
            chunk,
            context.left_context,
            context.right_context,
            slots < (rights - first)[..., None],
            num_past,
            order=torch.argsort(~keep, dim=1, stable=True),
            first=first,
            own=ends - first,
            past=past or KeptPast.none(len(keep), context.left_context, keep),
            compacted=compacted,
        )

    @property
    def num_kept(self) -> Tensor:
        """Own kept frames of all chunks together ``(B,)``."""
        return self.own.sum(1)

    def split(self, frames: Tensor) -> Tensor:
        """Gather ``(B, T, D)`` into chunks with their right context: ``(B, K, S, D)``."""
        source = self._sources.flatten(1)
        return take_frames(frames, source).unflatten(1, self.valid.shape[1:])

    def from_chunks(self, chunks: Tensor) -> Tensor:
        """Gather chunks of all frames, each from its own ``(B, K, C + R, D)``: ``(B, K, S, D)``."""
        places = self._places.clamp(0, chunks.size(2) - 1)  # or no frame there
        rows = take_frames(chunks.flatten(0, 1), places.flatten(0, 1))
        return rows.unflatten(0, chunks.shape[:2])

    def to_chunks(self, kept: Tensor, chunks: Tensor) -> Tensor:
        """Put kept frames ``(B, K, S, D)`` into a copy of chunks of all ``(B, K, C + R, D)``."""
        places = self._places.masked_fill(~self.valid, chunks.size(2))  # no frame: behind the chunk
        room = pad(chunks, (0, 0, 0, 1)).to(kept.dtype)
        return room.scatter(2, places[..., None].expand(kept.shape), kept)[:, :, :-1]

    def add_last_change(self, kept: Tensor, chunks: Tensor) -> Tensor:
        """Add to every frame what changed in the last kept one up to it, if its chunk has one.

        Args:
            kept: What :meth:`from_chunks` made of the chunks, changed ``(B, K, S, D)``.
            chunks: Those of all frames ``(B, K, C + R, D)``.
        """
        change = pad(kept - self.from_chunks(chunks), (0, 0, 1, 0)).flatten(0, 1)
        places = self._places.masked_fill(~self.valid, chunks.size(2)).flatten(0, 1)
        steps = torch.arange(chunks.size(2), device=chunks.device).expand(len(places), -1)
        numbers = torch.searchsorted(places, steps.contiguous(), right=True)  # 0: none up to it
        return chunks + take_frames(change, numbers).unflatten(0, chunks.shape[:2])

    def join(self, chunks: Tensor) -> Tensor:
        """Own frames of ``(B, K, S, D)`` one after the other: ``(B, T', D)``."""
        if self._only_kept is not None:
            return chunks[:, 0, : self._only_kept]
        table = self._table(0)[:, : int(self.num_kept.max())]
        return take_frames(pad(chunks.flatten(1, 2), (0, 0, 0, 1)), table)

    def positions(self) -> Tensor:
        """Position of every frame ``(B, K, S)``, copies included."""
        if self.compacted:
            return self.past.num_kept[:, None, None] + self._numbers()
        return self.num_past + self._sources

    def times(self) -> Tensor:
        """Frame numbers in the utterance of what :meth:`join` returns ``(B, T')``.

        :data:`NEVER` beyond what an utterance keeps: there is nothing to be read there.
        """
        order = self.order[:, : int(self.num_kept.max())]
        steps = torch.arange(order.size(1), device=order.device)
        return (self.num_past + order).masked_fill(steps >= self.num_kept[:, None], NEVER)

    def keys(self, chunks: Tensor, past: Tensor) -> Tensor:
        """Put the kept frames of the left context before each chunk, as :class:`ChunkLayout` does.

        Returns:
            ``(B, H, K, W + S, d)``, W the most frames that a left context keeps.
        """
        return self.window(chunks, past[..., past.size(-2) - self._width :, :])

    def window(self, chunks: Tensor, past: Tensor, after: int = 0) -> Tensor:
        """Put the kept frames before each chunk in front of it, as :func:`windows` does.

        Args:
            chunks: ``(B, ..., K, S, D)``; what is no frame must be zero, or masked by the reader.
            past: ``(B, ..., n, D)``, the n kept frames before the first chunk.
            after: Zero frames to append to each chunk.
        """
        width, (num_chunks, span) = past.size(-2), chunks.shape[-3:-1]
        past = past.to(chunks.dtype)
        if num_chunks == 1:
            return pad(torch.cat([past[..., None, :, :], chunks], dim=-2), (0, 0, 0, after))
        source = torch.cat([past, chunks.flatten(-3, -2)], dim=-2)
        steps = torch.arange(width, device=chunks.device)
        left = self._table(width).gather(1, (self.first[..., None] + steps).flatten(1))
        slots = torch.arange(num_chunks * span, device=chunks.device).view(1, num_chunks, span)
        parts = [left.unflatten(1, (num_chunks, width)), (width + slots).expand(len(left), -1, -1)]
        if after:
            nothing = slots.new_full((len(left), num_chunks, after), width + num_chunks * span)
            parts.append(nothing)
        rows = take_frames(pad(source, (0, 0, 0, 1)), torch.cat(parts, dim=-1).flatten(1))
        return rows.unflatten(-2, (num_chunks, width + span + after))

    def last_frames(self, chunks: Tensor, past: Tensor) -> Tensor:
        """The past of the chunk that would follow, as long as ``past``: ``(B, ..., n, D)``."""
        width = past.size(-2)
        source = torch.cat([past.to(chunks.dtype), chunks.flatten(-3, -2)], dim=-2)
        if self._only_kept is not None:  # one chunk of one stream: a slice
            return source[..., self._only_kept : self._only_kept + width, :]
        steps = torch.arange(width, device=chunks.device)
        return take_frames(source, self._table(width).gather(1, self.num_kept[:, None] + steps))

    def next_past(self) -> KeptPast:
        """What the layout of the chunks that follow has to know of these and those before."""
        steps = torch.arange(self.past.times.size(1), device=self.order.device)
        times = self._timeline().gather(1, self.num_kept[:, None] + steps)
        return KeptPast(times, self.past.num_kept + self.num_kept)

    @cached_property
    def _only_kept(self) -> int | None:
        """Own kept frames when there is one chunk of one utterance."""
        return int(self.own) if self.own.numel() == 1 else None

    def _numbers(self) -> Tensor:
        """Number of the kept frame in every slot ``(B, K, S)``, from the first of this layout."""
        return self.first[..., None] + torch.arange(self.valid.size(-1), device=self.order.device)

    @cached_property
    def _sources(self) -> Tensor:
        """Frame number of every slot ``(B, K, S)``, from the first frame of this layout."""
        numbers = self._numbers().clamp(max=self.order.size(1) - 1)
        return self.order.gather(1, numbers.flatten(1)).unflatten(1, numbers.shape[1:])

    @cached_property
    def _places(self) -> Tensor:
        """Place of every slot's frame in its own chunk of all frames ``(B, K, S)``."""
        numbers = torch.arange(self.valid.size(1), device=self.order.device)
        return self._sources - numbers[:, None] * self.chunk_size

    def _timeline(self) -> Tensor:
        """Frame numbers of the last L kept frames of the past and of all kept here."""
        return torch.cat([self.past.times, self.num_past + self.order], dim=1)

    @cached_property
    def _left_keys(self) -> Tensor:
        """Which of the L kept frames before each chunk lie in its left context ``(B, K, L)``."""
        steps = torch.arange(self.left_context, device=self.order.device)
        times = self._timeline().gather(1, (self.first[..., None] + steps).flatten(1))
        starts = torch.arange(self.valid.size(1), device=self.order.device) * self.chunk_size
        oldest = (self.num_past + starts - self.left_context).clamp(min=0)
        return times.unflatten(1, (len(starts), self.left_context)) >= oldest[:, None]

    @cached_property
    def _key_mask(self) -> Tensor:
        """Which of the keys of :meth:`keys` each chunk may attend: ``(B, K, W + S)``."""
        left = self._left_keys
        own = self.valid | ~self.valid.any(-1, keepdim=True)
        return torch.cat([left[..., left.size(-1) - self._width :], own], dim=-1)

    @cached_property
    def _width(self) -> int:
        """W, the most frames that a left context keeps."""
        if self.left_context == 0:
            return 0
        return int(self._left_keys.sum(-1).max())

    def _table(self, width: int) -> Tensor:
        """Slot of every kept frame in the chunks, ``width`` frames of the past before them.

        Returns:
            ``(B, width + T)``: column ``width + j`` has the slot of own frame j, ``width + k * S +
            s``; the columns before it those of the past; columns of no frame the slot after all.
        """
        if width not in self.tables:
            (batch, num_chunks, span), length = self.valid.shape, self.order.size(1)
            steps = torch.arange(span, device=self.order.device)
            columns = width + self._numbers()
            columns = columns.masked_fill(steps >= self.own[..., None], width + length)
            slots = width + torch.arange(num_chunks * span, device=self.order.device)
            table = slots.new_full((batch, width + length + 1), width + num_chunks * span)
            table[:, :width] = torch.arange(width, device=table.device)
            table.scatter_(1, columns.flatten(1), slots.expand(batch, -1))
            self.tables[width] = table[:, :-1]
        return self.tables[width]
