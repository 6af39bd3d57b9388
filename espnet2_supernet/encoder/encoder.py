"""The encoder of a supernet: whole utterances or a stream, through the same blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor, nn

from espnet2_supernet.encoder.block import BlockState, EncoderBlock
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.dropout import Dropout
from espnet2_supernet.encoder.subsampling import SUBSAMPLING, Conv2dSubsampling
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.norm import SubnetLayerNorm

FULL_CONTEXT = Context()


@dataclass
class EncoderState:
    """Everything a stream remembers; its size does not grow with the stream.

    Attributes:
        context: Chunk, left and right context in encoder frames.
        feats: Features not yet subsampled ``(B, < factor, F)``.
        subsampling: State of the subsampling.
        frames: Subsampled frames not yet encoded ``(B, < C + R, D)``.
        blocks: One state for each block.
        num_past: Frames already encoded.
    """

    context: Context
    feats: Tensor
    subsampling: list[Tensor]
    frames: Tensor
    blocks: list[BlockState]
    num_past: int = 0


class SupernetEncoder(AbsEncoder):
    """Subsampling, blocks and a final norm; what they see is said by a :class:`Context`.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        blocks: The blocks, each of dimension D.
        subsampling: ``conv2d`` or ``stack``, both by four; or ``none``, a projection.
        subsampling_channels: Channels of the ``conv2d`` subsampling.
        dropout_rate: Dropout of the subsampled frames.
        final_norm: Normalise the output; post-norm blocks have done so.

    Attributes:
        subsampling_factor: Features of each frame.
        normalizes_latents: Whether :meth:`project` normalises what a quantiser reads.

    Raises:
        ConfigError: If the subsampling is unknown.
    """

    normalizes_latents = False

    def __init__(
        self,
        input_size: int,
        output_size: int,
        blocks: Sequence[EncoderBlock],
        subsampling: str,
        subsampling_channels: int,
        dropout_rate: float,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        if subsampling not in SUBSAMPLING:
            raise ConfigError(
                f"encoder_conf.subsampling: unknown '{subsampling}'; "
                f"choose one of {', '.join(SUBSAMPLING)}"
            )
        kind: Any = SUBSAMPLING[subsampling]
        options = {"channels": subsampling_channels} if kind is Conv2dSubsampling else {}
        self.subsampling = kind(input_size, output_size, **options)
        self.subsampling_factor = kind.factor
        self.dropout = Dropout(dropout_rate)
        self.blocks = nn.ModuleList(blocks)
        self.norm = SubnetLayerNorm(output_size) if final_norm else nn.Identity()
        self._input_size, self._output_size = input_size, output_size

    def output_size(self) -> int:
        """Model dimension D."""
        return self._output_size

    def forward(
        self,
        xs_pad: Tensor,
        ilens: Tensor,
        prev_states: Tensor | None = None,
        *,
        context: Context | None = None,
    ) -> tuple[Tensor, Tensor, None]:
        """Encode whole utterances: the full-context or the masked pass.

        Args:
            xs_pad: Features ``(B, T, F)``.
            ilens: Their lengths ``(B,)``.
            prev_states: Not used; part of ESPnet's interface.
            context: What each frame may see; full context when None.

        Returns:
            Frames ``(B, T // factor, D)``, zero beyond each length; lengths ``(B,)``; None.
        """
        return *self.encode_frames(*self.subsample(xs_pad, ilens), context), None

    def subsample(self, feats: Tensor, feat_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The part that no context and no mask changes: subnets of one step can share it.

        Args:
            feats: Features ``(B, T, F)``.
            feat_lengths: Their lengths ``(B,)``.

        Returns:
            Frames ``(B, T // factor, D)`` and their lengths ``(B,)``.
        """
        lengths = feat_lengths // self.subsampling_factor
        max_length = int(lengths.max())
        if max_length == 0:
            return feats.new_zeros(feats.size(0), 0, self._output_size), lengths
        state = self.subsampling.init_state(feats.size(0))
        frames, _ = self.subsampling(feats[:, : self.subsampling_factor * max_length], state)
        return self.dropout(frames), lengths

    @property
    def latent_size(self) -> int:
        """Dimension of :meth:`latents`."""
        return self._output_size

    def latents(self, feats: Tensor, feat_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What pre-training draws its targets from, here the subsampled frames.

        :meth:`subsample` in two steps: this one, then :meth:`project`. Arguments as there.
        """
        return self.subsample(feats, feat_lengths)

    def project(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents to what a quantiser reads and what the blocks read, here the same."""
        return latents, latents

    def encode_frames(
        self, frames: Tensor, lengths: Tensor, context: Context | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the blocks of the active subnet over subsampled frames.

        Args:
            frames: Result of :meth:`subsample`, ``(B, T', D)``.
            lengths: Their lengths ``(B,)``.
            context: What each frame may see; full context when None.

        Returns:
            Frames ``(B, T', D)``, zero beyond each length, and the lengths ``(B,)``.
        """
        if frames.size(1) == 0:
            return frames, lengths
        context = context or FULL_CONTEXT
        layout = ChunkLayout.for_context(context, lengths, frames.size(1))
        states = self._block_states(context, frames.size(0))
        out, _ = self._encode(frames, layout, states)
        out = out[:, : frames.size(1)]
        steps = torch.arange(out.size(1), device=out.device)
        return out.masked_fill((steps >= lengths[:, None])[..., None], 0.0), lengths

    def init_state(self, context: Context, batch_size: int = 1) -> EncoderState:
        """State of a stream before its first sample.

        Args:
            context: Chunk, left and right context, in encoder frames.
            batch_size: Streams that advance together.

        Raises:
            ConfigError: If the context is full: an utterance must end before it can be encoded.
        """
        if context.is_full:
            raise ConfigError("a full-context subnet cannot be streamed; choose a streaming subnet")
        like = next(self.subsampling.parameters())
        return EncoderState(
            context,
            like.new_zeros(batch_size, 0, self._input_size),
            self.subsampling.init_state(batch_size),
            like.new_zeros(batch_size, 0, self._output_size),
            self._block_states(context, batch_size),
        )

    @torch.no_grad()
    def stream(
        self, feats: Tensor, state: EncoderState, is_final: bool = False
    ) -> tuple[Tensor, EncoderState]:
        """Encode as many chunks as the features complete: the stateful pass.

        Args:
            feats: The next features ``(B, n, F)``; n may be 0.
            state: Result of :meth:`init_state` or of the last call; it is not changed.
            is_final: No features follow: encode the rest, be it a whole chunk or not.

        Returns:
            Frames ``(B, n', D)`` and the next state.
        """
        feats = torch.cat([state.feats, feats.to(state.feats)], dim=1)
        whole = feats.size(1) - feats.size(1) % self.subsampling_factor
        frames, subsampling = state.frames, state.subsampling
        if whole:
            new, subsampling = self.subsampling(feats[:, :whole], subsampling)
            frames = torch.cat([frames, new], dim=1)
        rest = EncoderState(
            state.context, feats[:, whole:], subsampling, frames, state.blocks, state.num_past
        )
        return self._stream_chunks(rest, is_final)

    def _stream_chunks(self, state: EncoderState, is_final: bool) -> tuple[Tensor, EncoderState]:
        chunk, right = state.context.chunk_size or 0, state.context.right_context
        ready = state.frames.size(1)
        num_chunks = -(-ready // chunk) if is_final else max(0, (ready - right) // chunk)
        if num_chunks == 0:
            return state.frames[:, :0], state
        used = min(ready, num_chunks * chunk)
        lengths = torch.full((state.frames.size(0),), ready, device=state.frames.device)
        layout = ChunkLayout.for_context(state.context, lengths, num_chunks * chunk)
        layout = layout.after(state.num_past)
        visible = state.frames[:, : num_chunks * chunk + right]
        out, blocks = self._encode(visible, layout, state.blocks)
        state.frames, state.blocks = state.frames[:, used:], blocks
        state.num_past += used
        return out[:, :used], state

    def _encode(
        self, frames: Tensor, layout: ChunkLayout, states: list[BlockState]
    ) -> tuple[Tensor, list[BlockState]]:
        x, next_states = layout.split(frames), []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block(x, layout, state)
            next_states.append(state)
        return self.norm(layout.join(x)), next_states

    def _block_states(self, context: Context, batch_size: int) -> list[BlockState]:
        like = next(self.subsampling.parameters())
        blocks = cast("Iterable[EncoderBlock]", self.blocks)
        return [block.init_state(batch_size, context.left_context, like) for block in blocks]
