"""What an encoder and its chunks are: sizes, and names and shapes of its matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

KINDS = ("conformer", "transformer")


@dataclass(frozen=True)
class EncoderDescription:
    """Sizes of an encoder and of its chunks; frames are those after subsampling.

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

    Raises:
        ValueError: If a value is impossible.
    """

    kind: str
    size: int
    heads: int
    linear_units: int
    num_blocks: int
    chunk_size: int
    left_context: int
    right_context: int = 0
    kernel: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        if self.kind not in KINDS:
            raise ValueError(f"kind: unknown '{self.kind}'; choose one of {', '.join(KINDS)}")
        sizes = {key: value for key, value in asdict(self).items() if key != "kind"}
        for key, value in sizes.items():
            least = 0 if key in ("left_context", "right_context") else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{key}: wanted a whole number of at least {least}, got {value!r}")
        if self.size % self.heads or self.size // self.heads % 2:
            raise ValueError(f"size {self.size} is no even multiple of heads {self.heads}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderDescription:
        """Read a description.

        Raises:
            ValueError: If a key is missing or unknown, or a value is impossible.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted(known - set(values) - {"right_context", "kernel"})
        if unknown or missing:
            raise ValueError(f"encoder description: unknown keys {unknown}, missing keys {missing}")
        return cls(**values)


def matrix_shapes(description: EncoderDescription) -> dict[str, tuple[int, int]]:
    """Names and shapes of all matrices, as in the state of the encoder."""
    size, units = description.size, description.linear_units
    feed = {"linear_in": (units, size), "linear_out": (size, units)}
    one = {f"feed_forward.{name}": shape for name, shape in feed.items()}
    for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
        one[f"attention.{name}"] = (size, size)
    if description.kind == "conformer":
        one |= {f"feed_forward_macaron.{name}": shape for name, shape in feed.items()}
        one["convolution.pointwise_in"] = (2 * size, size)
        one["convolution.pointwise_out"] = (size, size)
    return {
        f"blocks.{i}.{name}.weight": shape
        for i in range(description.num_blocks)
        for name, shape in one.items()
    }
