"""Which layout each block runs on: frames may be dropped before a later block than the first.

Blocks before it see all frames, so that what is kept carries what they gathered of the frames that
are then dropped. A chunk takes its frames, copies of its right context included, from its own slots
alone, never from another chunk: no output sees farther than without the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.encoder.kept import KeptLayout
from espnet2_supernet.errors import ConfigError

if TYPE_CHECKING:
    from espnet2_supernet.encoder.block import EncoderBlock


@dataclass(frozen=True)
class Layouts:
    """The layouts of one pass.

    Attributes:
        all_frames: Of the blocks before frames are dropped.
        kept: Of the others; None if no frame is dropped.
        before_block: Frames are dropped before this one, from 1, of the blocks that run.
    """

    all_frames: ChunkLayout
    kept: KeptLayout | None = None
    before_block: int = 1

    @property
    def first(self) -> ChunkLayout:
        """That of the frames as they come."""
        if self.kept is not None and self.before_block == 1:
            return self.kept
        return self.all_frames

    def changes_before(self, running: Sequence[EncoderBlock]) -> EncoderBlock | None:
        """Find the block before which :attr:`kept` takes over from :attr:`first`; None if none.

        Raises:
            ConfigError: If fewer blocks run.
        """
        if self.kept is None or self.before_block == 1:
            return None
        return counted_block(running, self.before_block)


def counted_block(running: Sequence[EncoderBlock], number: int) -> EncoderBlock:
    """Find a block by its number among those that a subnet runs and that count as layers.

    Args:
        running: The blocks that it runs, in order.
        number: From 1.

    Raises:
        ConfigError: If there are fewer.
    """
    counted = [block for block in running if block.droppable]
    if number > len(counted):
        raise ConfigError(
            f"tokens.before_block: {number}, but the subnet runs {len(counted)} blocks"
        )
    return counted[number - 1]
