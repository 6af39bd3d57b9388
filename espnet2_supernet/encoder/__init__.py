"""Encoders of the supernet: full context, chunked and streamed through the same weights."""

from espnet2_supernet.encoder.architectures import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
)
from espnet2_supernet.encoder.encoder import SupernetEncoder

__all__ = ["SupernetConformerEncoder", "SupernetEncoder", "SupernetTransformerEncoder"]
