"""Which layout each block runs on: frames are dropped before one and may come back before another.

The blocks before the first see all frames, so that what is kept carries what they gathered of the
frames that are then dropped. Frames that come back are as they were when they were dropped: they
skip the blocks between, as tokens do in Mixture-of-Depths (arXiv 2404.02258), and there are as many
outputs as without the rule. They may also take along what these blocks changed in the last kept
frame before them, as Squeezeformer (arXiv 2206.00888) adds its frames of half the rate, each
twice, to those of the full rate. A chunk takes its frames, copies of its right context included,
from its own slots alone, never from another chunk: no output sees farther than without the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.kept import KeptLayout
from espnet2_supernet.errors import ConfigError

if TYPE_CHECKING:
    from espnet2_supernet.encoder.block import EncoderBlock


@dataclass(frozen=True)
class Layouts:
    """The layouts of one pass.

    Attributes:
        all_frames: Of the blocks that see all frames.
        kept: Of the others; None if no frame is dropped.
        before_block: Frames are dropped before this one, from 1, of the blocks that run.
        restore_before_block: They come back before this one; None if they do not.
        with_change: They do so with what changed in the last kept frame before them.
    """

    all_frames: ChunkLayout
    kept: KeptLayout | None = None
    before_block: int = 1
    restore_before_block: int | None = None
    with_change: bool = False

    @property
    def only_kept(self) -> bool:
        """Whether no block sees a frame that is dropped."""
        return (
            self.kept is not None and self.before_block == 1 and self.restore_before_block is None
        )

    @property
    def returns_kept(self) -> bool:
        """Whether the last block sees kept frames only."""
        return self.kept is not None and self.restore_before_block is None

    def walk(self, running: Sequence[EncoderBlock]) -> Walk:
        """Begin with the first of the blocks that run.

        Raises:
            ConfigError: If fewer blocks run than these layouts speak of.
        """
        return Walk(self, running)


class Walk:
    """The way of a batch through the blocks.

    Attributes:
        layout: That of the frames where the way has come to.

    Args:
        layouts: Those of the blocks.
        running: The blocks that run, in order.

    Raises:
        ConfigError: If there are fewer than the layouts speak of.
    """

    def __init__(self, layouts: Layouts, running: Sequence[EncoderBlock]) -> None:
        self._all_frames, self._kept = layouts.all_frames, layouts.kept
        self.layout = layouts.all_frames
        self._with_change = layouts.with_change
        self._drops: EncoderBlock | None = None
        self._restores: EncoderBlock | None = None
        self._skipping: Tensor | None = None
        if layouts.kept is not None and layouts.only_kept:
            self.layout = layouts.kept
        elif layouts.kept is not None:
            self._drops = counted_block(running, layouts.before_block, "before_block")
            if layouts.restore_before_block is not None:
                self._restores = counted_block(
                    running, layouts.restore_before_block, "restore_before_block"
                )

    def enter(self, block: nn.Module, chunks: Tensor) -> Tensor:
        """Lay out ``(B, K, S, D)`` as a block wants it, the next that runs; ``layout`` follows."""
        if self._kept is not None and block is self._drops:
            self.layout = self._kept
            self._skipping = None if self._restores is None else chunks
            return self._kept.from_chunks(chunks)
        if self._kept is not None and block is self._restores and self._skipping is not None:
            self.layout, skipping = self._all_frames, self._skipping
            if self._with_change:
                skipping = self._kept.add_last_change(chunks, skipping)
            return self._kept.to_chunks(chunks, skipping)
        return chunks


def counted_block(running: Sequence[EncoderBlock], number: int, key: str) -> EncoderBlock:
    """Find a block by its number among those that a subnet runs and that count as layers.

    Args:
        running: The blocks that it runs, in order.
        number: From 1.
        key: What is configured by this number, for the message.

    Raises:
        ConfigError: If there are fewer.
    """
    counted = [block for block in running if block.droppable]
    if number > len(counted):
        raise ConfigError(f"tokens.{key}: {number}, but the subnet runs {len(counted)} blocks")
    return counted[number - 1]
