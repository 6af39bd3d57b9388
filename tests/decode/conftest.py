"""A tiny random supernet in memory, for every search and both encoders."""

import functools

import numpy as np
import pytest
import torch

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]
SUBNETS = {
    "server": {"context": "full"},
    "device": {
        "context": {"chunk_size": [4, 8], "left_context": 8, "right_context": 0},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
    },
    "ahead": {"context": {"chunk_size": 4, "left_context": 4, "right_context": 2}},
}
TRANSDUCER = {
    "predictor": "rnn",
    "predictor_conf": {"embed_size": 8, "hidden_size": 8},
    "joint_space_size": 8,
}


def make_model(encoder="conformer", ctc_weight=0.5, normalize=None):
    """Build a tiny model in eval mode with pruned masks and lively outputs."""
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
    from espnet2_supernet.features.log_mel import LogMelFrontend
    from espnet2_supernet.sparsity.linear import MaskedLinear

    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}
    blocks = kind[encoder](12, 16, 2, 32, num_blocks=2, subsampling_channels=4)
    model = SupernetASRModel(
        len(TOKENS), TOKENS, LogMelFrontend(n_mels=12), None, normalize, None, blocks, None, None,
        CTC(len(TOKENS), 16), None, {"subnets": SUBNETS}, ctc_weight,
        TRANSDUCER if ctc_weight < 1 else None,
    )  # fmt: skip
    with torch.no_grad():
        for layer in model.encoder.modules():
            if isinstance(layer, MaskedLinear) and "device" in layer.patterns:
                layer.mask("device")[:, ::2] = False
        if model.ctc is not None:
            model.ctc.ctc_lo.weight.mul_(6.0)
        if model.joint_network is not None:
            model.joint_network.lin_out.weight.mul_(8.0)
            model.joint_network.lin_out.bias[0] += 2.0
    return model.eval()


def make_speech(seconds, seed=0):
    """Noise whose colour and loudness change, so that the features move."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(int(np.ceil(seconds * 10))):
        noise = rng.standard_normal(1600)
        tone = np.sin(np.arange(1600) * rng.uniform(0.02, 2.5))
        pieces.append(rng.uniform(0.0, 0.3) * noise + rng.uniform(0.0, 0.5) * tone)
    return np.concatenate(pieces)[: int(seconds * 16000)].astype(np.float32)


@pytest.fixture(scope="session")
def tiny_model():
    """Return :func:`make_model`, remembering what it built."""
    return functools.cache(make_model)


@pytest.fixture(scope="session")
def speech():
    """Return :func:`make_speech`."""
    return make_speech
