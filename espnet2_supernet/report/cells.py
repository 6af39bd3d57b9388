"""What numbers look like in a cell of a table."""

from __future__ import annotations

from espnet2_supernet.report.latency import DASH
from espnet2_supernet.report.scoring import Score


def rate_text(score: Score | None) -> str:
    """Print a rate with its interval.

    Args:
        score: The score, or None.

    Returns:
        ``"12.94 [11.20, 14.71]"`` or a dash.
    """
    if score is None:
        return DASH
    rate = f"{score.total.error_rate:.2f}"
    if score.interval is None:
        return f"{rate} (no interval)"
    return f"{rate} [{score.interval.low:.2f}, {score.interval.high:.2f}]"


def number_text(value: float | None, form: str, scale: float = 1.0) -> str:
    """Print a number in a format, or nothing.

    Example:
        >>> number_text(13_100_000, ".1f", 1e-6), number_text(None, ".1f")
        ('13.1', '')
    """
    return "" if value is None else format(value if scale == 1.0 else value * scale, form)
