"""The blocks of an encoder in a row, and what an extracted one keeps of those that it passes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from espnet2_supernet.encoder.block import BlockState, EncoderBlock
from espnet2_supernet.encoder.chunks import ChunkLayout
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.depth import LayerStack
from espnet2_supernet.supernet.norm import SubnetLayerNorm


class NormBlock(EncoderBlock):
    """The final norm of a block that is left out for good; it counts as no layer.

    Args:
        norm: The norm.
    """

    droppable = False

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm_out = norm

    def init_state(self, batch_size: int, left_context: int, like: Tensor) -> BlockState:
        """State before the first frame: empty, nothing is remembered."""
        nothing = like.new_zeros(batch_size, 0, 0, 0)
        return BlockState(nothing, nothing, like.new_zeros(batch_size, 0, 0))

    def forward(
        self, x: Tensor, layout: ChunkLayout, state: BlockState
    ) -> tuple[Tensor, BlockState]:
        """Normalise chunks ``(B, K, S, D)``; ``state`` stays as it is."""
        return self.norm_out(x), state


class BlockStack(LayerStack):
    """A :class:`LayerStack` of encoder blocks; a norm that is kept becomes a :class:`NormBlock`."""

    def remains(self, layer: nn.Module) -> nn.Module | None:
        """Return what is kept of a block that is left out for good, or None."""
        norm = super().remains(layer)
        return None if norm is None else NormBlock(norm)


def with_norms(
    blocks: Sequence[EncoderBlock], places: Sequence[int], size: int
) -> list[EncoderBlock]:
    """Put norms of left-out blocks between the blocks of an encoder.

    Args:
        blocks: The blocks.
        places: Where norms stand in the result, from 0, ascending (``encoder_conf.kept_norms``).
        size: Model dimension D.

    Raises:
        ConfigError: If the places are no ascending numbers of the result.
    """
    length = len(blocks) + len(places)
    if list(places) != sorted({p for p in places if p in range(length)}):
        raise ConfigError(
            f"encoder_conf.kept_norms: {list(places)}: write ascending places from 0 to "
            f"{length - 1}, those of {len(places)} norms among {len(blocks)} blocks"
        )
    rest = iter(blocks)
    return [NormBlock(SubnetLayerNorm(size)) if i in places else next(rest) for i in range(length)]


def norm_places(encoder: Any) -> list[int]:
    """Return where in an encoder norms stand for left-out blocks; see :func:`with_norms`."""
    return [i for i, block in enumerate(encoder.blocks) if isinstance(block, NormBlock)]


def check_no_norms(encoder: Any, what: str) -> None:
    """Refuse an encoder that keeps norms of blocks that it passes by.

    Args:
        encoder: A supernet encoder, extracted.
        what: What cannot be made of it, for the message.

    Raises:
        ConfigError: If it has such norms.
    """
    if norm_places(encoder):
        raise ConfigError(
            f"encoder_conf.layerdrop_keep_norm: {what} cannot have the norms of left-out blocks: "
            "decode the subnet with asr_inference, extracted or not, or train without"
        )
