"""What an encoder and its chunks are: sizes, and names and shapes of its matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

KINDS = ("conformer", "transformer")
PER_BLOCK = ("heads", "linear_units", "macaron_units", "channels", "key_size", "value_size")


@dataclass(frozen=True)
class BlockSizes:
    """Sizes of one block.

    Attributes:
        heads: Attention heads H.
        linear_units: Inner size of the feed-forward module (a conformer's second).
        macaron_units: Inner size of a conformer's first feed-forward module.
        channels: Channels of a conformer's depthwise convolution.
        key_size: Dimensions of a head's queries and keys.
        value_size: Dimensions of a head's values.
    """

    heads: int
    linear_units: int
    macaron_units: int
    channels: int
    key_size: int
    value_size: int


@dataclass(frozen=True)
class EncoderDescription:
    """Sizes of an encoder and of its chunks; frames are those after subsampling.

    Sizes that pruning may have left unlike are one number, or a list with one for each block.

    Attributes:
        kind: ``conformer`` or ``transformer``.
        size: Model dimension D.
        heads: Attention heads.
        linear_units: Inner size of the feed-forward modules.
        num_blocks: Blocks.
        chunk_size: Frames C of a chunk.
        left_context: Frames L before a chunk that attention sees.
        right_context: Frames R after it.
        kernel: Width of the depthwise kernel, odd; conformer only.
        head_size: Size d of a whole head, even; None = D / heads.
        macaron_units: Of a conformer's first feed-forward modules; None = as ``linear_units``.
        channels: Of a conformer's convolutions; None = D.
        key_size: Dimensions that a head's queries and keys have left, even; None = d.
        value_size: Dimensions that a head's values have left; None = d.

    Raises:
        ValueError: If a value is impossible.
    """

    kind: str
    size: int
    heads: int | list[int]
    linear_units: int | list[int]
    num_blocks: int
    chunk_size: int
    left_context: int
    right_context: int = 0
    kernel: int = 1
    head_size: int | None = None
    macaron_units: int | list[int] | None = None
    channels: int | list[int] | None = None
    key_size: int | list[int] | None = None
    value_size: int | list[int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.kind not in KINDS:
            raise ValueError(f"kind: unknown '{self.kind}'; choose one of {', '.join(KINDS)}")
        for key, value in asdict(self).items():
            if key == "kind" or value is None:
                continue
            least = {"left_context": 0, "right_context": 0, "channels": 2}.get(key, 1)
            for one in value if key in PER_BLOCK and isinstance(value, list) else [value]:
                if isinstance(one, bool) or not isinstance(one, int) or one < least:
                    wanted = f"a whole number of at least {least}"
                    raise ValueError(f"{key}: wanted {wanted}, got {one!r}")
            if isinstance(value, list) and len(value) != self.num_blocks:
                raise ValueError(f"{key}: {len(value)} sizes for {self.num_blocks} blocks")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        self._check_heads()

    def _check_heads(self) -> None:
        if self.head_size is None and not isinstance(self.heads, int):
            raise ValueError("heads: a list needs head_size")
        if self.head_size is None and self.size % self.head_count(0):
            raise ValueError(f"size {self.size} is no multiple of heads {self.heads}")
        if self.width_of_head % 2:
            raise ValueError(f"a head has {self.width_of_head} numbers; wanted an even size")
        keys = {sizes.key_size for sizes in self.block_sizes()}
        if any(key % 2 or key > self.width_of_head for key in keys):
            limit = self.width_of_head
            raise ValueError(f"key_size: wanted even sizes up to {limit}, got {self.key_size}")

    @property
    def width_of_head(self) -> int:
        """Size d of a head."""
        return self.head_size or self.size // self.head_count(0)

    def head_count(self, block: int) -> int:
        """Heads of a block."""
        return _one(self.heads, block)

    def block_sizes(self) -> list[BlockSizes]:
        """Return the sizes of every block."""
        macaron = self.linear_units if self.macaron_units is None else self.macaron_units
        channels = self.size if self.channels is None else self.channels
        whole = self.width_of_head
        key = whole if self.key_size is None else self.key_size
        value = whole if self.value_size is None else self.value_size
        sizes = (self.heads, self.linear_units, macaron, channels, key, value)
        return [BlockSizes(*(_one(size, i) for size in sizes)) for i in range(self.num_blocks)]

    def part(self, begin: int, end: int) -> EncoderDescription:
        """Describe an encoder of some of the blocks.

        Args:
            begin: The first of them, from 0.
            end: The one after the last of them.
        """
        cut: dict[str, Any] = {"num_blocks": end - begin}
        for key in PER_BLOCK:
            value = getattr(self, key)
            cut[key] = value[begin:end] if isinstance(value, list) else value
        return replace(self, **cut)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderDescription:
        """Read a description.

        Raises:
            ValueError: If a key is missing or unknown, or a value is impossible.
        """
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        needed = {name for name, field in known.items() if field.default is MISSING}
        missing = sorted(needed - set(values))
        if unknown or missing:
            raise ValueError(f"encoder description: unknown keys {unknown}, missing keys {missing}")
        return cls(**values)


def _one(size: int | list[int], block: int) -> int:
    return size[block] if isinstance(size, list) else size


def matrix_shapes(description: EncoderDescription) -> dict[str, tuple[int, int]]:
    """Names and shapes of all matrices, as in the state of the encoder."""
    return {
        f"blocks.{i}.{name}.weight": shape
        for i, sizes in enumerate(description.block_sizes())
        for name, shape in _block_shapes(description, sizes).items()
    }


def _block_shapes(description: EncoderDescription, sizes: BlockSizes) -> dict[str, tuple[int, int]]:
    size = description.size
    widths = {"q": sizes.key_size, "k": sizes.key_size, "v": sizes.value_size}
    found = {f"attention.linear_{x}": (sizes.heads * n, size) for x, n in widths.items()}
    found["attention.linear_out"] = (size, sizes.heads * sizes.value_size)
    units = {"feed_forward": sizes.linear_units}
    if description.kind == "conformer":
        units["feed_forward_macaron"] = sizes.macaron_units
        found["convolution.pointwise_in"] = (2 * sizes.channels, size)
        found["convolution.pointwise_out"] = (size, sizes.channels)
    for name, inner in units.items():
        found[f"{name}.linear_in"] = (inner, size)
        found[f"{name}.linear_out"] = (size, inner)
    return found
