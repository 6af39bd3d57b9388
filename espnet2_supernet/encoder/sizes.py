"""Sizes that may differ from block to block, as physical pruning leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from espnet2_supernet.encoder.attention import HeadSizes
from espnet2_supernet.encoder.block import TransformerBlock
from espnet2_supernet.errors import ConfigError

PerBlock = int | Sequence[int]


def per_block(value: PerBlock, num_blocks: int, key: str) -> list[int]:
    """Give every block its size.

    Args:
        value: One size for all blocks, or a list with one for each.
        num_blocks: Number of blocks.
        key: Key of ``encoder_conf``, for messages.

    Raises:
        ConfigError: If the list has another length, or a size is no whole number from 1.

    Example:
        >>> per_block(4, 2, "attention_heads"), per_block([4, 3], 2, "attention_heads")
        ([4, 4], [4, 3])
    """
    sizes = [value] * num_blocks if isinstance(value, int) else list(value)
    if len(sizes) != num_blocks:
        raise ConfigError(
            f"encoder_conf.{key}: {len(sizes)} sizes for {num_blocks} blocks; write one size, or a "
            "list with one for each block"
        )
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"encoder_conf.{key}: a size is a whole number from 1, got {size!r}")
    return sizes


def block_sizes(num_blocks: int, **values: PerBlock) -> list[tuple[int, ...]]:
    """Give every block all its sizes, in the order of the arguments.

    Args:
        num_blocks: Number of blocks.
        **values: By key of ``encoder_conf``, as for :func:`per_block`.

    Raises:
        ConfigError: As :func:`per_block`.

    Example:
        >>> block_sizes(2, attention_heads=4, linear_units=[32, 16])
        [(4, 32), (4, 16)]
    """
    sizes = [per_block(value, num_blocks, key) for key, value in values.items()]
    return list(zip(*sizes, strict=True))


def head_sizes(
    num_blocks: int, size: int | None, key: PerBlock | None, value: PerBlock | None
) -> list[HeadSizes]:
    """Give every block the sizes of its heads.

    Args:
        num_blocks: Number of blocks.
        size: ``attention_head_size`` of ``encoder_conf``, or None for the default.
        key: ``attention_key_size``, likewise.
        value: ``attention_value_size``, likewise.

    Raises:
        ConfigError: If a list has another length, or a size is no whole number from 1.
    """
    keys: list[int | None] = [None] * num_blocks
    values: list[int | None] = [None] * num_blocks
    if key is not None:
        keys = [*per_block(key, num_blocks, "attention_key_size")]
    if value is not None:
        values = [*per_block(value, num_blocks, "attention_value_size")]
    return [HeadSizes(size, *each) for each in zip(keys, values, strict=True)]


def encoder_sizes(encoder: nn.Module) -> dict[str, Any]:
    """Read the sizes that the blocks of an encoder really have.

    Args:
        encoder: A supernet encoder, cut or not.

    Returns:
        The keys of ``encoder_conf`` that build blocks of these sizes; a list where they differ.
    """
    some = _blocks(encoder)
    sizes = {
        "attention_heads": [block.attention.heads for block in some],
        "attention_key_size": [block.attention.key_size for block in some],
        "attention_value_size": [block.attention.value_size for block in some],
        "linear_units": [block.feed_forward.linear_in.out_features for block in some],
    }
    if hasattr(some[0], "convolution"):
        macaron = [block.feed_forward_macaron.linear_in.out_features for block in some]
        sizes["macaron_linear_units"] = macaron
        sizes["convolution_channels"] = [block.convolution.channels for block in some]
    found: dict[str, Any] = {key: _short(values) for key, values in sizes.items()}
    return {**found, "attention_head_size": some[0].attention.head_size}


def check_equal_blocks(encoder: Any, what: str) -> None:
    """Refuse an encoder whose blocks differ in size, or are narrower inside than outside.

    Args:
        encoder: A supernet encoder.
        what: What cannot be made of it, for the message.

    Raises:
        ConfigError: Naming the first size that differs.
    """
    size = encoder.output_size()
    sizes = encoder_sizes(encoder)
    sizes["attention_width"] = [b.attention.linear_v.out_features for b in _blocks(encoder)]
    wanted = {
        "attention_width": size,
        "attention_key_size": sizes["attention_head_size"],
        "convolution_channels": size,
        "macaron_linear_units": sizes["linear_units"],
    }
    for key, value in sizes.items():
        values = value if isinstance(value, list) else [value]
        if len(set(values)) > 1 or values[0] != wanted.get(key, values[0]):
            raise ConfigError(
                f"{what}: blocks of unlike sizes, or narrower inside than outside, are not "
                f"supported there (encoder_conf.{key}: {_short(values)}, output_size {size})"
            )


def _blocks(encoder: Any) -> list[Any]:
    return [block for block in encoder.blocks if isinstance(block, TransformerBlock)]


def _short(values: list[int]) -> PerBlock:
    return values[0] if len(set(values)) == 1 else values
