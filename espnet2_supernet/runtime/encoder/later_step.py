"""The chunk step of a stream whose blocks do not all see the same frames.

Equal to ``SupernetEncoder.stream`` with a ``FrameKeeper`` whose ``before_block`` is above 1 or that
has a ``restore_before_block``: some blocks see all frames, then some the kept ones, right context
included, and then some all frames again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.encoder_sizes import EncoderDescription
from espnet2_supernet.runtime.encoder.kept_step import (
    KeptEncoderStep,
    KeptMemory,
    check_decisions,
)
from espnet2_supernet.runtime.encoder.step import EncoderMemory, EncoderStep

Array = np.ndarray


@dataclass
class LaterMemory:
    """What a stream remembers; its size never changes.

    Attributes:
        below: Of the blocks that see all frames before any is dropped, if there are such.
        kept: Of those that see the kept ones.
        above: Of those that see all frames again, if there are such.
    """

    below: EncoderMemory | None
    kept: KeptMemory
    above: EncoderMemory | None

    @property
    def past(self) -> int:
        """Frames encoded so far, dropped ones counted."""
        return self.kept.past

    @property
    def num_kept(self) -> int:
        """Kept frames encoded so far."""
        return self.kept.num_kept


class LaterKeptStep:
    """Blocks over all frames, blocks over the kept ones, blocks over all again; the final norm.

    Args:
        description: Keys of ``EncoderDescription``.
        weights: As of :class:`EncoderStep`.
        before_block: The first block that sees kept frames only, from 1.
        restore_before_block: The next one that sees all; None if none does, and then
            ``before_block`` is at least 2.
        with_change: The others come back with what changed in the last kept frame before them.
        compacted: As of :class:`KeptEncoderStep`.
        **options: As of :class:`EncoderStep`.

    Attributes:
        restores: Whether there is an output for every frame.

    Raises:
        ValueError: If there is no such block, or see :class:`EncoderStep`.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        weights: Mapping[str, Array | BlockMatrix],
        *,
        before_block: int,
        restore_before_block: int | None = None,
        with_change: bool = False,
        compacted: bool = False,
        **options: Any,
    ) -> None:
        d = self.description = EncoderDescription.from_dict(description)
        self.restores = restore_before_block is not None
        self._with_change = with_change
        first = before_block - 1
        last = d.num_blocks if restore_before_block is None else restore_before_block - 1
        _check_blocks(first, last, d.num_blocks, self.restores)
        self._below = self._above = None
        if first:
            part = asdict(d.part(0, first))
            self._below = EncoderStep(part, weights, final_norm=False, **options)
        part, options["final_norm"] = asdict(d.part(first, last)), not self.restores
        self._kept = KeptEncoderStep(
            part, _from_block(weights, first), compacted=compacted, **options
        )
        if self.restores:
            part, options["final_norm"] = asdict(d.part(last, d.num_blocks)), True
            self._above = EncoderStep(part, _from_block(weights, last), **options)

    @property
    def span(self) -> int:
        """Frames S = C + R that a full step takes."""
        return self._kept.span

    def init_state(self) -> LaterMemory:
        """State of a stream before its first frame."""
        below, above = (
            None if step is None else step.init_state() for step in (self._below, self._above)
        )
        return LaterMemory(below, self._kept.init_state(), above)

    def step_kept(self, frames: Array, keep: Array, state: LaterMemory) -> Array:
        """Encode a chunk, of which some blocks see what is kept.

        Arguments and errors as of :meth:`KeptEncoderStep.step_kept`.

        Returns:
            Frames (n', D), the chunk's own that the last block saw, a new array.
        """
        check_decisions(frames, keep)  # before anything remembers the frames
        if self._below is not None and state.below is not None:
            frames = self._below.step_visible(frames, state.below)[: len(frames)]
        if self._above is None or state.above is None:
            return self._kept.step_kept(frames, keep, state.kept)
        kept = self._kept.step_visible_kept(frames, keep, state.kept)
        frames = np.array(frames, np.float32)
        if self._with_change and len(kept):
            frames += last_changes(kept - frames[keep], keep)
        frames[keep] = kept
        used = min(len(frames), self.description.chunk_size)
        return self._above.step(frames, len(frames), state.above)[:used]


def last_changes(changes: Array, keep: Array) -> Array:
    """What changed in the last kept frame up to each.

    Args:
        changes: Of the kept frames ``(n', D)``.
        keep: Which frames those are, bool ``(n,)``.

    Returns:
        ``(n, D)``, zero before the first kept frame.
    """
    first = np.zeros((1, changes.shape[1]), changes.dtype)
    found: Array = np.concatenate([first, changes])[np.cumsum(keep)]
    return found


def _check_blocks(first: int, last: int, num_blocks: int, restores: bool) -> None:
    """Check that blocks ``first`` to ``last - 1``, from 0, may be those that see kept frames.

    Raises:
        ValueError: If there are no such blocks.
    """
    least = 0 if restores else 1
    if not least <= first < num_blocks:
        raise ValueError(f"before_block: wanted {least + 1} to {num_blocks}, got {first + 1}")
    if restores and not first < last < num_blocks:
        wanted = f"{first + 2} to {num_blocks}"
        raise ValueError(f"restore_before_block: wanted {wanted}, got {last + 1}")


def _from_block(
    weights: Mapping[str, Array | BlockMatrix], first: int
) -> dict[str, Array | BlockMatrix]:
    """The weights of an encoder without its first blocks, which counts the others from 0."""
    found = {}
    for name, value in weights.items():
        place, _, rest = name.removeprefix("blocks.").partition(".")
        if not name.startswith("blocks."):
            found[name] = value
        elif int(place) >= first:
            found[f"blocks.{int(place) - first}.{rest}"] = value
    return found
