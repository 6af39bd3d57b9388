"""From a model to a bundle: what fits, what does not, and how many bytes it takes."""

import dataclasses

import numpy as np
import pytest
import torch

from espnet2_supernet.encoder import SupernetTransformerEncoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.bundle import read_bundle, write_bundle
from espnet2_supernet.runtime.bundle.keep_rule import KeepRule
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.tasks import bundling
from espnet2_supernet.tasks.bundle_weights import best_block
from tiny_models import make_model

ORIGIN = bundling.Origin("", "")


@pytest.mark.parametrize("block", [(16, 1), (8, 4), (16, 4), (1, 1)])
@pytest.mark.parametrize("itemsize", [1, 4])
def test_the_blocks_of_a_mask_are_found(block, itemsize):
    keep = np.random.default_rng(0).random((64 // block[0], 64 // block[1])) < 0.3
    weight = np.kron(keep, np.ones(block)).astype(np.float32)
    assert best_block(weight, itemsize) == block
    assert best_block(np.ones((64, 64), np.float32), itemsize) == (16, 4)


def bundle_of(model, subnet="ahead", **options):
    given = {"context": None, "precision": "fp32", "token_type": "char", "origin": ORIGIN}
    return bundling.make_bundle(model, subnet, **{**given, **options})


def test_what_the_runtime_does_not_know_is_named(tiny_model, monkeypatch):
    model = tiny_model()
    with pytest.raises(ConfigError, match="full context and cannot stream"):
        bundle_of(model, "server")
    with pytest.raises(ConfigError, match="has not reached its final sparsity"):
        bundle_of(model, "device")
    with pytest.raises(ConfigError, match="token_type 'phn'"):
        bundle_of(model, token_type="phn")
    with monkeypatch.context() as patch:
        patch.setattr(bundling, "KINDS", {SupernetTransformerEncoder: "transformer"})
        with pytest.raises(ConfigError, match="encoder SupernetConformerEncoder: the runtime"):
            bundle_of(model)
    with monkeypatch.context() as patch:
        patch.setattr(bundling, "SUBSAMPLINGS", {})
        with pytest.raises(ConfigError, match="encoder_conf.subsampling"):
            bundle_of(model)


@pytest.mark.parametrize(
    "tokens, expected",
    [
        ("compacted", {"kind": "salad", "positions": "compacted"}),
        ("random", {"kind": "random", "keep_ratio": 0.5}),
        ("energy", {"kind": "energy", "threshold": -0.5}),
    ],
)
def test_a_rule_is_described(tiny_model, tokens, expected):
    model = tiny_model(tokens=tokens)
    if tokens == "compacted":
        expected["threshold"] = float(model.detector.threshold)
    for precision in ("fp32", "int8"):
        bundle = bundle_of(model, precision=precision)
        assert bundle.description.keep_rule == KeepRule(**expected)
        kept = {name for name in bundle.weights if name.startswith("detector.")}
        assert ("detector.linear_in.weight" in kept) == (tokens == "compacted")
        exact = bundle.weights["encoder.subsampling.linear.weight"]
        assert isinstance(exact, np.ndarray) == (tokens == "compacted" or precision == "fp32")
    assert bundle_of(tiny_model()).description.keep_rule is None


def test_rules_that_no_stream_can_follow_are_refused(tiny_model):
    model = make_model(tokens="salad")
    model.detector.threshold.fill_(np.nan)
    with pytest.raises(ConfigError, match="the detector is not trained"):
        bundle_of(model)
    spec = dataclasses.replace(model.rules["ahead"].spec, keep_ratio=0.5)
    model.rules["ahead"].spec = spec
    with pytest.raises(ConfigError, match="subnets.ahead.tokens.keep_ratio ranks the frames"):
        bundle_of(model)


def test_a_block_that_frames_are_dropped_before_is_described(tiny_model):
    assert bundle_of(tiny_model(tokens="later")).description.keep_rule.before_block == 2
    restored = bundle_of(tiny_model(tokens="restored")).description.keep_rule
    assert (restored.before_block, restored.restore_before_block) == (1, 2)
    assert restored.restored == "unchanged"
    changed = bundle_of(tiny_model(tokens="changed")).description.keep_rule
    assert (changed.restore_before_block, changed.restored) == (2, "last_change")


def test_a_structured_subnet_is_smaller_in_its_bundle(trained, tmp_path):
    """Both with its masks, and cut out before."""
    from espnet2_supernet.bin import bundle, prune_extract

    kinds = "[attention_heads, linear_units, convolution_channels]"
    pruned = ["--sparsity", "0.4", "--pattern", f"{{structured: {{kinds: {kinds}}}}}"]
    model, found = next(trained.glob("valid.*.ave.pth")), []
    for name, options in (("dense", []), ("small", pruned)):
        out = ["--subnet", "device", "--output_dir", str(tmp_path / name)]
        prune_extract.main(["--asr_model_file", str(model), *out, *options])
        for precision in ("fp32", "int8"):
            folder = tmp_path / f"{name}_{precision}"
            bundle.main(
                ["--asr_model_file", str(model), "--subnet", "device", *options, "--output_dir",
                 str(folder), "--precision", precision]
            )  # fmt: skip
            found.append(read_bundle(folder, allow_untrained=True).description.encoder)
        model = tmp_path / name / "model.pth"
    assert found[0].block_sizes()[0].linear_units > found[2].block_sizes()[0].linear_units
    cut = tmp_path / "cut"
    bundle.main(["--asr_model_file", str(model), "--subnet", "device", "--output_dir", str(cut)])
    assert read_bundle(cut, allow_untrained=True).description.encoder == found[2]


@pytest.mark.parametrize(
    ("precision", "block", "limit"), [("fp32", (16, 1), 0.36), ("int8", (8, 4), 0.12)]
)
def test_a_bundle_of_a_sparse_subnet_is_small(tiny_model, tmp_path, precision, block, limit):
    """One block of the size that counts; more of them only help."""
    model = tiny_model(encoder="transformer", subsampling="stack")
    old, blocks = model.encoder, SupernetTransformerEncoder(12, 512, 8, 2048, 2)
    generator = torch.Generator().manual_seed(0)
    for layer in blocks.modules():
        if isinstance(layer, MaskedLinear):
            rows, columns = (
                size // edge for size, edge in zip(layer.weight.shape, block, strict=True)
            )
            keep = (torch.rand(rows, columns, generator=generator) < 0.3).float()
            layer.weight.data *= keep.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    model.encoder = model.supernet.root = blocks
    try:
        bundle = bundle_of(model, precision=precision)
    finally:
        model.encoder = model.supernet.root = old
    assert bundle.weights["encoder.blocks.1.attention.linear_q.weight"].block == block
    sizes = write_bundle(tmp_path, bundle)
    dense = 4 * sum(parameter.numel() for parameter in blocks.parameters())
    assert sum(sizes.values()) / dense <= limit
