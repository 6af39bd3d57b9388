"""A tiny model and its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
from espnet2_supernet.features.log_mel import LogMelFrontend
from espnet2_supernet.ssl.model import SupernetSSLModel

torch.set_num_threads(1)

MASK = {"pattern": "elementwise", "sparsity": 0.5}
DEVICE = {"context": {"chunk_size": 4, "left_context": 4}, "mask": MASK}
SERVER = {"context": "full"}
SUPERNET = {"subnets": {"server": SERVER, "device": DEVICE}}
ENCODERS = {"transformer": SupernetTransformerEncoder, "conformer": SupernetConformerEncoder}


def _make_model(supernet_conf=None, encoder="transformer", dropout=0.0, **conf):
    torch.manual_seed(0)
    options = {"num_blocks": 2, "dropout_rate": dropout, "subsampling": "stack"}
    defaults = {"mask_length": 3, "final_dim": 8, "latent_vars": 8, "num_negatives": 10}
    return SupernetSSLModel(
        LogMelFrontend(n_mels=20),
        None,
        ENCODERS[encoder](20, 16, 2, 32, **options),
        SUPERNET | (supernet_conf or {}),
        **(defaults | {"dropout_features": 0.0} | conf),
    )


def _batch(lengths=(24000, 12000, 20000), ids=None):
    random = torch.Generator().manual_seed(1)
    speech = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(speech, lengths, strict=True):
        row[:length] = torch.randn(length, generator=random)
    ids = ids or [f"utt{length}" for length in lengths]
    return {"speech": speech, "speech_lengths": torch.tensor(lengths), "utt_id": ids}


@pytest.fixture
def make_model() -> Callable[..., SupernetSSLModel]:
    return _make_model


@pytest.fixture
def batch() -> Callable[..., dict[str, Any]]:
    return _batch


@pytest.fixture
def device() -> dict[str, Any]:
    """The sparse streaming subnet of the table."""
    return DEVICE
