"""How far a subnet may look: full context, or chunks with left and right context."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espnet2_supernet.errors import ConfigError, check_keys

_KEYS = ("chunk_size", "left_context", "right_context")


@dataclass(frozen=True)
class Context:
    """What one encoder frame may attend to, in encoder frames (after subsampling).

    Time is cut into chunks of ``chunk_size`` frames. A frame sees its whole chunk, the
    ``left_context`` frames before the chunk and the ``right_context`` frames after it.
    ``chunk_size=None`` is full context: the whole utterance. No value's sign changes its
    meaning (our choice; other toolkits write -1 for "full").

    Attributes:
        chunk_size: Frames decoded at once, or ``None`` for the whole utterance.
        left_context: Past frames seen besides the chunk.
        right_context: Future frames seen besides the chunk; they add latency.

    Raises:
        ConfigError: If a value is not a whole number, is out of range, or bounds a full context.

    Example:
        >>> device = Context(chunk_size=16, left_context=64)
        >>> device.describe(frame_ms=40)
        'chunk 640 ms, left 2560 ms, right 0 ms'
        >>> device.algorithmic_latency_ms(frame_ms=40, feature_lookahead_ms=55)
        695.0
        >>> Context().is_full
        True
    """

    chunk_size: int | None = None
    left_context: int = 0
    right_context: int = 0

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.chunk_size is not None:
            _check_frames("chunk_size", self.chunk_size, at_least=1)
        _check_frames("left_context", self.left_context, at_least=0)
        _check_frames("right_context", self.right_context, at_least=0)
        if self.chunk_size is None and (self.left_context or self.right_context):
            raise ConfigError(
                "context: full context has no left_context or right_context; "
                "give a chunk_size, or remove them"
            )

    @property
    def is_full(self) -> bool:
        """Whether every frame sees the whole utterance."""
        return self.chunk_size is None

    @classmethod
    def parse(cls, spec: Any, where: str = "context") -> Context:
        """Read ``"full"`` or ``{chunk_size: 16, left_context: 64, right_context: 0}``.

        Args:
            spec: The YAML value, or a ready ``Context``.
            where: Path of the value, for error messages.

        Raises:
            ConfigError: If the value is not one single context.
        """
        contexts = parse_contexts(spec, where)
        if len(contexts) != 1:
            raise ConfigError(f"{where}: one context wanted, got {len(contexts)}: {spec}")
        return contexts[0]

    def to_dict(self) -> str | dict[str, int]:
        """Return what ``parse`` reads back to an equal context."""
        return "full" if self.is_full else asdict(self)

    def describe(self, frame_ms: float) -> str:
        """Say the context in milliseconds.

        Args:
            frame_ms: Duration of one encoder frame, in ms.
        """
        if self.chunk_size is None:
            return "full context"
        spans = (self.chunk_size, self.left_context, self.right_context)
        chunk, left, right = (f"{frames * frame_ms:g} ms" for frames in spans)
        return f"chunk {chunk}, left {left}, right {right}"

    def in_frames(self) -> str:
        """Say the context in encoder frames."""
        return self.describe(frame_ms=1).replace(" ms", "")

    def algorithmic_latency_ms(self, frame_ms: float, feature_lookahead_ms: float = 0.0) -> float:
        """Return how late the first frame of a chunk is known on an infinitely fast machine.

        Args:
            frame_ms: Duration of one encoder frame, in ms.
            feature_lookahead_ms: Look-ahead of features and subsampling, in ms.

        Returns:
            Chunk + right context + feature look-ahead, in ms; infinite for full context.
        """
        if self.chunk_size is None:
            return math.inf
        return (self.chunk_size + self.right_context) * float(frame_ms) + feature_lookahead_ms


def parse_contexts(spec: Any, where: str = "context") -> tuple[Context, ...]:
    """Read every context a subnet is trained for; the first one is its default.

    A list inside a block means "all of these" and blocks multiply out; a list of blocks joins
    them. Training on several contexts is dynamic chunk training (WeNet U2, arXiv 2012.05481).

    Args:
        spec: ``"full"``, a block of whole numbers or lists of them, or a list of those.
        where: Path of the value, for error messages.

    Returns:
        The contexts, without duplicates, in the order written.

    Raises:
        ConfigError: If the value cannot be read.

    Example:
        >>> for context in parse_contexts({"chunk_size": [16, 8], "left_context": 64}):
        ...     print(context.describe(frame_ms=40))
        chunk 640 ms, left 2560 ms, right 0 ms
        chunk 320 ms, left 2560 ms, right 0 ms
    """
    if isinstance(spec, Context):
        return (spec,)
    if spec == "full":
        return (Context(),)
    if isinstance(spec, (list, tuple)) and spec:
        nested = (parse_contexts(one, f"{where}[{i}]") for i, one in enumerate(spec))
        return tuple(dict.fromkeys(itertools.chain.from_iterable(nested)))
    if not isinstance(spec, Mapping):
        raise ConfigError(
            f"{where}: write 'full' or {{chunk_size: 16, left_context: 64, right_context: 0}}, "
            f"got {spec!r}"
        )
    check_keys(spec, _KEYS, where)
    if spec.get("chunk_size") is None:
        raise ConfigError(f"{where}: chunk_size is missing; for no limit write 'full'")
    values = [_as_list(spec.get(key, 0)) for key in _KEYS]
    try:
        contexts = tuple(dict.fromkeys(Context(*frames) for frames in itertools.product(*values)))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if not contexts:
        raise ConfigError(f"{where}: an empty list leaves no context to train")
    return contexts


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _check_frames(key: str, value: Any, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(
            f"{key} must be a whole number of encoder frames, at least {at_least}; got {value!r}"
        )
