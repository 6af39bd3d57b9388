"""Encoders of the supernet: full context, chunked and streamed through the same weights."""

from espnet2_supernet.encoder.architectures import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
)
from espnet2_supernet.encoder.encoder import SupernetEncoder
from espnet2_supernet.encoder.wav2vec2 import SupernetWav2Vec2Encoder

__all__ = [
    "SupernetConformerEncoder",
    "SupernetEncoder",
    "SupernetTransformerEncoder",
    "SupernetWav2Vec2Encoder",
]
