"""The stateful pass: chunks as the features arrive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from espnet2_supernet.encoder.block import BlockState
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.keeper import FrameKeeper
from espnet2_supernet.encoder.kept import KeptLayout
from espnet2_supernet.encoder.kept_past import KeptPast
from espnet2_supernet.encoder.layouts import Layouts
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context

if TYPE_CHECKING:
    from espnet2_supernet.encoder.encoder import SupernetEncoder


@dataclass
class Dropping:
    """What a stream remembers of the frames that it drops and keeps.

    Attributes:
        keeper: Decides.
        state: Its state.
        keep: Which of the frames not yet encoded are kept ``(B, < C + R)``.
        past: The last kept frames.
    """

    keeper: FrameKeeper
    state: Any
    keep: Tensor
    past: KeptPast


@dataclass
class EncoderState:
    """Everything a stream remembers; its size does not grow with the stream.

    Attributes:
        context: Chunk, left and right context in encoder frames.
        feats: Features not yet subsampled ``(B, < factor, F)``.
        subsampling: State of the subsampling.
        frames: Subsampled frames not yet encoded ``(B, < C + R, D)``.
        blocks: One state for each block.
        num_past: Frames already encoded, dropped ones included.
        dropping: What concerns dropped frames; None if all are kept.
        times: Frame numbers in the utterance of the frames returned last ``(B, n')``; None if all
            are returned.
    """

    context: Context
    feats: Tensor
    subsampling: list[Tensor]
    frames: Tensor
    blocks: list[BlockState]
    num_past: int = 0
    dropping: Dropping | None = None
    times: Tensor | None = None


def init_state(
    encoder: SupernetEncoder, context: Context, batch_size: int, keeper: FrameKeeper | None
) -> EncoderState:
    """State of a stream before its first sample; arguments as of the encoder's method.

    Raises:
        ConfigError: If the context is full: an utterance must end before it can be encoded.
    """
    if context.is_full:
        raise ConfigError("a full-context subnet cannot be streamed; choose a streaming subnet")
    like = next(encoder.subsampling.parameters())
    state = EncoderState(
        context,
        like.new_zeros(batch_size, 0, encoder.input_size),
        encoder.subsampling.init_state(batch_size),
        like.new_zeros(batch_size, 0, encoder.output_size()),
        encoder.block_states(context, batch_size),
    )
    if keeper is not None:
        nothing = torch.zeros(batch_size, 0, dtype=torch.bool, device=like.device)
        past = KeptPast.none(batch_size, context.left_context, like)
        state.dropping = Dropping(keeper, keeper.init_state(batch_size), nothing, past)
    return state


def stream(
    encoder: SupernetEncoder, feats: Tensor, state: EncoderState, is_final: bool
) -> tuple[Tensor, EncoderState]:
    """Encode as many chunks as the features complete; arguments as of the encoder's method."""
    feats = torch.cat([state.feats, feats.to(state.feats)], dim=1)
    whole = feats.size(1) - feats.size(1) % encoder.subsampling_factor
    state = replace(state, feats=feats[:, whole:])
    if whole:
        new, state.subsampling = encoder.subsampling(feats[:, :whole], state.subsampling)
        if state.dropping is not None:
            new, state.dropping = _decided(state.dropping, new, feats[:, :whole])
        state.frames = torch.cat([state.frames, new], dim=1)
    return _stream_chunks(encoder, state, is_final)


def _decided(dropping: Dropping, frames: Tensor, feats: Tensor) -> tuple[Tensor, Dropping]:
    keep, frames, state = dropping.keeper.decide(frames, feats, dropping.state)
    keep = torch.cat([dropping.keep, keep], dim=1)
    return frames, replace(dropping, state=state, keep=keep)


def _stream_chunks(
    encoder: SupernetEncoder, state: EncoderState, is_final: bool
) -> tuple[Tensor, EncoderState]:
    """Encode the chunks that are complete; ``state`` is changed."""
    chunk, right = state.context.chunk_size or 0, state.context.right_context
    ready = state.frames.size(1)
    num_chunks = -(-ready // chunk) if is_final else max(0, (ready - right) // chunk)
    dropping = state.dropping
    if dropping is not None and dropping.keeper.restore_before_block is None:
        state.times = torch.zeros_like(dropping.keep[:, :0], dtype=torch.int64)
    if num_chunks == 0:
        return state.frames[:, :0], state
    used = min(ready, num_chunks * chunk)
    visible = state.frames[:, : num_chunks * chunk + right]
    lengths = torch.full((state.frames.size(0),), ready, device=state.frames.device)
    layout = ChunkLayout.for_context(state.context, lengths, num_chunks * chunk)
    layouts = Layouts(layout.after(state.num_past))
    if dropping is not None:
        kept, keeper = _kept_layout(state, visible.size(1), num_chunks, used), dropping.keeper
        where = (keeper.before_block, keeper.restore_before_block, keeper.with_change)
        layouts = Layouts(layouts.all_frames, kept, *where)
        state.times = kept.times() if layouts.returns_kept else None
    if state.times is not None and not state.times.size(1) and layouts.only_kept:
        out = visible[:, :0]  # no block has anything to see
    else:
        out, state.blocks = encoder.encode_chunks(visible, layouts, state.blocks)
    out = out[:, :used]
    state.frames = state.frames[:, used:]
    state.num_past += used
    return out, state


def _kept_layout(state: EncoderState, num_visible: int, num_chunks: int, used: int) -> KeptLayout:
    """Lay out the next chunks, and remember what the one after them needs."""
    assert state.dropping is not None
    dropping = state.dropping
    layout = KeptLayout.build(
        state.context,
        dropping.keep[:, :num_visible],
        num_chunks,
        dropping.keeper.compacted,
        state.num_past,
        dropping.past,
    )
    state.dropping = replace(dropping, keep=dropping.keep[:, used:], past=layout.next_past())
    return layout
