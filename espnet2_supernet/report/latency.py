"""Algorithmic latency from a decode's configuration, and measured latency where it exists.

Algorithmic latency = chunk + right context + look-ahead of features and subsampling: how late the
first frame of a chunk is known on an infinitely fast machine. It is computed from ``decode.yaml``;
token emission delay and real-time factor are measured by ``espnet2_supernet.bin.latency``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espnet2_supernet.errors import DataError

if TYPE_CHECKING:
    from espnet2_supernet.supernet.context import Context

UTTERANCE = "utterance"
DASH = "-"
LATENCY_FILE = "latency.json"


@dataclass(frozen=True)
class MeasuredLatency:
    """What was measured of a decode.

    Attributes:
        delay_median_ms: Median token emission delay in ms, or None.
        delay_p90_ms: Its 90th percentile in ms, or None.
        real_time_factor: CPU time over audio time, or None.
        cpu: Name of the processor, empty if unknown.
        threads: Threads used, or None.
        encoder_factor: The encoder's part of the real-time factor, or None.
        keep_ratio: Fraction of the encoder frames that are computed, where some are dropped.
        bytes_on_disk: Size of the model file, or None.
        runtime_factor: Real-time factor of the float32 bundle in the runtime, or None.
        runtime_bytes: Size of that bundle, or None.
        run: Folder of the measuring; times of two runs are not quite comparable.
    """

    delay_median_ms: float | None = None
    delay_p90_ms: float | None = None
    real_time_factor: float | None = None
    cpu: str = ""
    threads: int | None = None
    encoder_factor: float | None = None
    keep_ratio: float | None = None
    bytes_on_disk: float | None = None
    runtime_factor: float | None = None
    runtime_bytes: float | None = None
    run: str = ""

    @property
    def delay_text(self) -> str:
        """``median / p90`` in ms, or a dash."""
        if self.delay_median_ms is None or self.delay_p90_ms is None:
            return DASH
        return f"{self.delay_median_ms:.0f} / {self.delay_p90_ms:.0f}"

    @property
    def real_time_factor_text(self) -> str:
        """The factor with processor and threads, or a dash."""
        if self.real_time_factor is None:
            return DASH
        where = [self.cpu] if self.cpu else []
        where += [f"{self.threads} thread{'s' * (self.threads != 1)}"] if self.threads else []
        return f"{self.real_time_factor:.3f}" + (f" ({', '.join(where)})" if where else "")


def decode_context(decode: Mapping[str, Any], where: str) -> Context | None:
    """Read the context of a decode.

    Args:
        decode: Content of ``decode.yaml``.
        where: Named in the errors.

    Returns:
        The context; None when ``decode.yaml`` does not tell.

    Raises:
        ConfigError: If the context is malformed.
    """
    # Imported here: the package of Context loads torch, and scoring must start without it.
    from espnet2_supernet.supernet.context import Context

    spec = decode.get("context")
    if spec is None:
        return None
    if isinstance(spec, Mapping) and "chunk_size" in spec and spec["chunk_size"] in (None, "full"):
        spec = "full"
    return Context.parse(spec, f"{where}: context")


def algorithmic_latency_ms(decode: Mapping[str, Any], where: str = "decode.yaml") -> float | None:
    """Compute the algorithmic latency of a decode.

    Args:
        decode: Content of ``decode.yaml``: ``context`` (``full`` or its three numbers in encoder
            frames), ``frame_ms`` (one encoder frame) and ``lookahead_ms`` (look-ahead of features
            and subsampling together).
        where: Named in the errors.

    Returns:
        Latency in ms; infinite for full context; None when there is no ``context``.

    Raises:
        ConfigError: If the context is malformed.
        DataError: If a bounded context comes without ``frame_ms`` or ``lookahead_ms``.
    """
    context = decode_context(decode, where)
    if context is None:
        return None
    if context.is_full:
        return math.inf
    values = {}
    for key in ("frame_ms", "lookahead_ms"):
        value = decode.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise DataError(f"{where}: '{key}' must be a number of ms >= 0; decode again")
        values[key] = float(value)
    return context.algorithmic_latency_ms(values["frame_ms"], values["lookahead_ms"])


def latency_text(latency_ms: float | None) -> str:
    """Print an algorithmic latency.

    Args:
        latency_ms: In ms, infinite for full context, None if unknown.

    Returns:
        ``"695 ms"``, ``"utterance"`` or ``"-"``.
    """
    if latency_ms is None:
        return DASH
    return UTTERANCE if math.isinf(latency_ms) else f"{latency_ms:.0f} ms"
