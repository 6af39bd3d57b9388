"""Encoders of the supernet: full context, chunked and streamed through the same weights."""

from espnet2_supernet.encoder.encoder import (
    SupernetConformerEncoder,
    SupernetEncoder,
    SupernetTransformerEncoder,
)

__all__ = ["SupernetConformerEncoder", "SupernetEncoder", "SupernetTransformerEncoder"]
