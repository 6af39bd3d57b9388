"""The encoder of a supernet: whole utterances or a stream, through the same blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor, nn

from espnet2_supernet.encoder.block import BlockState, EncoderBlock
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.dropout import Dropout
from espnet2_supernet.encoder.keeper import FrameKeeper
from espnet2_supernet.encoder.kept import KeptLayout
from espnet2_supernet.encoder.layouts import Layouts
from espnet2_supernet.encoder.stack import BlockStack
from espnet2_supernet.encoder.streaming import EncoderState, init_state, stream
from espnet2_supernet.encoder.subsampling import SUBSAMPLING, Conv2dSubsampling
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.layer_drop import LayerDrop, zero_gradients
from espnet2_supernet.supernet.norm import SubnetLayerNorm


class SupernetEncoder(AbsEncoder):
    """Subsampling, blocks and a final norm; what they see is said by a :class:`Context`.

    Args:
        input_size: Feature dimension F.
        output_size: Model dimension D.
        blocks: The blocks, each of dimension D.
        subsampling: ``conv2d``, ``conv1d`` or ``stack``, by four; or ``none``, a projection.
        subsampling_channels: Channels of the ``conv2d`` subsampling.
        dropout_rate: Dropout of the subsampled frames.
        final_norm: Normalise the output; post-norm blocks have done so.
        layerdrop: Probability with which a training step leaves a block out, see
            :class:`LayerDrop`.
        keep_norm: Of a block that is left out, keep the final norm.

    Attributes:
        subsampling_factor: Features of each frame.
        normalizes_latents: Whether :meth:`project` normalises what a quantiser reads.
        knows_times: Whether attention can tell how far apart in the utterance two frames are.

    Raises:
        ConfigError: If the subsampling is unknown or ``layerdrop`` is out of range.
    """

    normalizes_latents = False
    knows_times = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        blocks: Sequence[EncoderBlock],
        subsampling: str,
        subsampling_channels: int,
        dropout_rate: float,
        final_norm: bool = True,
        layerdrop: float = 0.0,
        keep_norm: bool = False,
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
        self.blocks = BlockStack(blocks, keep_norm)
        self.layer_drop = LayerDrop(layerdrop, [block.droppable for block in blocks])
        norm = SubnetLayerNorm(output_size, precedes_head=True)
        self.norm = norm if final_norm else nn.Identity()
        self.input_size, self._output_size = input_size, output_size

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
        frames, lengths = self.subsampled(feats, feat_lengths)
        return self.dropout(frames), lengths

    def subsampled(self, feats: Tensor, feat_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`subsample` without the dropout."""
        lengths = feat_lengths // self.subsampling_factor
        max_length = int(lengths.max())
        if max_length == 0:
            return feats.new_zeros(feats.size(0), 0, self._output_size), lengths
        state = self.subsampling.init_state(feats.size(0))
        frames, _ = self.subsampling(feats[:, : self.subsampling_factor * max_length], state)
        return frames, lengths

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
        self,
        frames: Tensor,
        lengths: Tensor,
        context: Context | None = None,
        keep: Tensor | None = None,
        compacted: bool = False,
        before_block: int = 1,
        restore_before_block: int | None = None,
        with_change: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Run the blocks of the active subnet over subsampled frames.

        Args:
            frames: Result of :meth:`subsample`, ``(B, T', D)``.
            lengths: Their lengths ``(B,)``.
            context: What each frame may see; full context when None.
            keep: Which frames the blocks see ``(B, T')``, none beyond a length; all when None.
            compacted: Positions count kept frames only; else they are those in the utterance.
            before_block: The first block that sees kept frames only, from 1, of those that run.
            restore_before_block: The next one that sees all; None if none does.
            with_change: The others take along what changed in the last kept frame before them.

        Returns:
            What the last block saw ``(B, T'', D)``, zero beyond each length; lengths ``(B,)``.
        """
        if frames.size(1) == 0:
            return frames, lengths
        context = context or Context()
        layouts = Layouts(ChunkLayout.for_context(context, lengths, frames.size(1)))
        if keep is not None:
            kept = KeptLayout.build(context, keep, layouts.all_frames.valid.size(1), compacted)
            where = (before_block, restore_before_block, with_change)
            layouts = Layouts(layouts.all_frames, kept, *where)
            lengths = kept.num_kept if layouts.returns_kept else lengths
        out, _ = self.encode_chunks(frames, layouts, self.block_states(context, frames.size(0)))
        out = out[:, : frames.size(1)]
        steps = torch.arange(out.size(1), device=out.device)
        return out.masked_fill((steps >= lengths[:, None])[..., None], 0.0), lengths

    def init_state(
        self, context: Context, batch_size: int = 1, keeper: FrameKeeper | None = None
    ) -> EncoderState:
        """State of a stream before its first sample.

        Args:
            context: Chunk, left and right context, in encoder frames.
            batch_size: Streams that advance together.
            keeper: Decides which frames the blocks see; all when None.

        Raises:
            ConfigError: If the context is full: an utterance must end before it can be encoded.
        """
        return init_state(self, context, batch_size, keeper)

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
            Frames ``(B, n', D)`` and the next state. When frames are dropped, its ``times`` tells
            where the others were in the utterance, and which streams have fewer than n'.
        """
        return stream(self, feats, state, is_final)

    def encode_chunks(
        self, frames: Tensor, layouts: Layouts, states: list[BlockState]
    ) -> tuple[Tensor, list[BlockState]]:
        """Run the blocks over what layouts make of frames.

        Args:
            frames: ``(B, T', D)``.
            layouts: Cut them into chunks.
            states: What each block remembers of the frames before.

        Returns:
            Frames ``(B, K * C, D)``, or those kept, and the states after them.
        """
        running, pruned = self.blocks.partition()
        walk = layouts.walk(running)
        x, next_states = walk.layout.split(frames), list[BlockState]()
        for number, block in enumerate(self.blocks):
            if block not in running:
                x = self.blocks.bypass(block, x)
                x = zero_gradients(x, block) if block in pruned else x
                continue
            x = walk.enter(block, x)
            state = states[len(next_states)]
            if self.layer_drop.leaves_out(number):
                x = zero_gradients(self.blocks.bypass(block, x), block)
            else:
                x, state = block(x, walk.layout, state)
            next_states.append(state)
        return self.norm(walk.layout.join(x)), next_states

    def block_states(self, context: Context, batch_size: int) -> list[BlockState]:
        """State of every block before the first frame."""
        like = next(self.subsampling.parameters())
        left, blocks = context.left_context, self.blocks.running()
        return [block.init_state(batch_size, left, like) for block in blocks]
