"""Tiny models with random weights and lively outputs, and something for them to hear."""

from __future__ import annotations

import numpy as np

STREAM_TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]
SUBNETS = {
    "server": {"context": "full"},
    "device": {
        "context": {"chunk_size": [4, 8], "left_context": 8, "right_context": 0},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
    },
    "ahead": {"context": {"chunk_size": 4, "left_context": 4, "right_context": 2}},
}
TOKEN_RULES = {
    "salad": {"kind": "salad"},
    "compacted": {"kind": "salad", "positions": "compacted"},
    "merged": {"kind": "salad", "merge": "mean"},
    "later": {"kind": "salad", "before_block": 2},
    "restored": {"kind": "salad", "restore_before_block": 2},
    "changed": {"kind": "salad", "restore_before_block": 2, "restored": "last_change"},
    "downsample": {"kind": "downsample"},
    "random": {"kind": "random", "keep_ratio": 0.5},
    "energy": {"kind": "energy", "threshold": -0.5},
}
TRANSDUCERS = {
    "rnn": {
        "predictor": "rnn",
        "predictor_conf": {"embed_size": 8, "hidden_size": 8},
        "joint_space_size": 8,
    },
    "stateless": {
        "predictor": "stateless", "predictor_conf": {"embed_size": 8}, "joint_space_size": 8
    },
}  # fmt: skip


def make_model(
    encoder="conformer",
    ctc_weight=0.5,
    normalize=None,
    subsampling="conv2d",
    predictor="rnn",
    tokens=None,
):
    """Build a tiny model in eval mode with pruned masks and lively outputs."""
    import torch
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
    from espnet2_supernet.features.log_mel import LogMelFrontend

    torch.set_num_threads(1)
    torch.manual_seed(0)
    subnets = {
        name: {**row, "tokens": TOKEN_RULES[tokens]} if tokens and name != "server" else row
        for name, row in SUBNETS.items()
    }
    kind = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}
    blocks = kind[encoder](
        12, 16, 2, 32, num_blocks=2, subsampling=subsampling, subsampling_channels=4
    )
    model = SupernetASRModel(
        len(STREAM_TOKENS), STREAM_TOKENS, LogMelFrontend(n_mels=12), None, normalize, None,
        blocks, None, None, CTC(len(STREAM_TOKENS), 16), None, {"subnets": subnets}, ctc_weight,
        TRANSDUCERS[predictor] if ctc_weight < 1 else None,
    )  # fmt: skip
    _enliven(model, predictor)
    return model.eval()


def _enliven(model, predictor):
    """Prune the mask ``device``; let heads, and a detector, decide this way and that."""
    import torch

    with torch.no_grad():
        prune_half(model)
        if model.ctc is not None:
            model.ctc.ctc_lo.weight.mul_(6.0)
        if model.joint_network is not None:
            model.joint_network.lin_out.weight.mul_(8.0)
            model.joint_network.lin_out.bias[0] += 2.0 if predictor == "rnn" else 0.5
        if model.detector is not None:  # one that keeps about half
            wave = torch.from_numpy(make_speech(4.0, seed=9))[None]
            feats, lengths = model.frontend(wave, torch.tensor([wave.size(1)]))
            model.detector.linear_out.weight.mul_(30.0)
            scores, _ = model.detector(model.encoder.eval().subsampled(feats, lengths)[0])
            model.detector.threshold.fill_(float(scores.median().sigmoid()))


def prune_half(model):
    """Let the mask ``device`` of the encoder keep every other column."""
    from espnet2_supernet.sparsity.linear import MaskedLinear

    for layer in model.encoder.modules():
        if isinstance(layer, MaskedLinear) and "device" in layer.patterns:
            layer.mask("device")[:, ::2] = False


def gradients(model):
    """The gradients of a model by parameter, of those that have one."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def make_speech(seconds, seed=0):
    """Noise whose colour and loudness change, so that the features move."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(int(np.ceil(seconds * 10))):
        noise = rng.standard_normal(1600)
        tone = np.sin(np.arange(1600) * rng.uniform(0.02, 2.5))
        pieces.append(rng.uniform(0.0, 0.3) * noise + rng.uniform(0.0, 0.5) * tone)
    return np.concatenate(pieces)[: int(seconds * 16000)].astype(np.float32)
