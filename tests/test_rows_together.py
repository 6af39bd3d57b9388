"""One supernet whose rows use all that a row may have at once, from training to extraction.

Dropped frames, depths, own heads, masks of blocks, units, dimensions of attention heads and
layers, private norms, blocks of unlike sizes, layers dropped in training, several contexts; and a
student of it.
"""

import copy
import json

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, bundle, check_streaming, encrl_train, prune_extract
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.encoder.sizes import encoder_sizes
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.train.monitor import count_weights

CHUNKS = {"chunk_size": 4, "left_context": 8, "right_context": 1}
BLOCKS = {"pattern": {"block": [4, 1]}, "sparsity": 0.5}
UNITS = {
    "pattern": {"structured": {"kinds": ["attention_heads", "linear_units"]}},
    "sparsity": 0.4,
    "ranking": "kind",
}
DIMENSIONS = {
    "pattern": {"structured": {"kinds": ["key_dimensions", "value_dimensions", "linear_units"]}},
    "sparsity": 0.4,
    "ranking": "kind",
}
LAYERS = {"pattern": {"structured": {"kinds": ["layers"]}}, "sparsity": 0.33}
EVERY_OTHER = {"kind": "downsample"}
BY_CHANCE = {"kind": "random", "keep_ratio": 0.6, "positions": "compacted"}
LOUDEST = {"kind": "energy", "keep_ratio": 0.5}
SUBNETS = {
    "server": {"context": "full"},
    "blocks": {"context": CHUNKS, "mask": BLOCKS, "depth": 2, "tokens": EVERY_OTHER},
    "units": {
        "context": [CHUNKS, {"chunk_size": 2, "left_context": 4}],
        "mask": DIMENSIONS,
        "depth": {"layers": 2, "keep": "last"},
        "head": "own",
        "tokens": BY_CHANCE,
    },
    "whole": {"mask": LAYERS, "tokens": LOUDEST},
    "dense": {"context": CHUNKS, "depth": {"layers": 1, "keep": "last"}, "tokens": EVERY_OTHER},
    "edge": {
        "context": CHUNKS,
        "mask": UNITS,
        "depth": {"layers": 2, "keep": "spread"},
        "head": "own",
    },
}
STREAMING = ["blocks", "units", "dense", "edge"]


def options(tiny_corpus):
    config = tiny_corpus.config()
    sizes = {
        "num_blocks": 3,
        "attention_heads": [4, 2, 3],
        "attention_head_size": 4,
        "linear_units": [32, 16, 24],
        "layerdrop": 0.3,
    }
    kept = ("output_size", "subsampling_channels", "dropout_rate")
    config["encoder_conf"] = {key: config["encoder_conf"][key] for key in kept} | sizes
    config["supernet_conf"] |= {"subnets": SUBNETS, "layer_norm": "per_subnet"}
    return config | {"max_epoch": 2}


@pytest.fixture(scope="module")
def folder(tiny_corpus, tmp_path_factory):
    """A finished training of 8 updates."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("rows")
    config = tiny_corpus.write_config(out / "train.yaml", **options(tiny_corpus))
    asr_train.main(["--config", str(config), "--output_dir", str(out / "exp")])
    return out / "exp"


def load(folder, name="valid.loss.ave.pth"):
    return SupernetASRTask.build_model_from_file(model_file=folder / name)


def row(folder, subnet, *more):
    return ["--asr_model_file", str(folder / "valid.loss.ave.pth"), "--subnet", subnet, *more]


def hear(recogniser, wave):
    """Return frames, tokens and their places, in one pass and as a stream."""
    masked, times = recogniser.encode_with_times(wave)
    [(_, _, ids, hypothesis)] = recogniser(wave)
    pieces = []
    session = recogniser.stream(pieces.append)
    for start in range(0, len(wave), 777):
        session.accept(wave[start : start + 777])
    result = session.finish()
    assert (result.token_int, result.frames) == (ids, hypothesis.frames)
    return masked, torch.cat(pieces), times


def test_training_reports_every_row_and_reaches_the_sparsity(folder):
    stats = torch.load(folder / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    for name, spec in SUBNETS.items():
        assert 0 < stats[2]["train"][f"loss_{name}"] < 1e4
        assert (f"keep_ratio_{name}" in stats[2]["train"]) == ("tokens" in spec)
    model, _ = load(folder)
    report = model.pruner.sparsity_report()
    assert set(report) == {"blocks", "units", "whole", "edge"}
    for name, found in report.items():
        near = 0.15 if name == "whole" else 0.06  # one layer of three, of unlike sizes
        assert found["prunable"] == pytest.approx(model.pruner.specs[name].sparsity, abs=near)
    assert model.supernet.num_layers("whole") == 2


def test_the_table_survives_the_checkpoint(folder):
    model, args = load(folder)
    written = yaml.safe_load((folder / "config.yaml").read_text())["supernet_conf"]
    assert written == args.supernet_conf == model.supernet_config.to_dict()
    again = SupernetASRTask.build_model(copy.deepcopy(args))
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, subnet in model.supernet.subnets.items():
        assert again.supernet.subnet(name) == subnet


def test_streamed_equals_masked(folder, tiny_corpus, capsys):
    scp = str(tiny_corpus.root / "valid/wav.scp")
    command = ["--asr_model_file", str(folder / "valid.loss.ave.pth"), "--wav_scp", scp]
    check_streaming.main(command)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * len(STREAMING)
    assert all("0 hypotheses differ" in line for line in lines)


@pytest.mark.parametrize("subnet", SUBNETS)
def test_a_row_is_extracted_as_it_is(folder, tmp_path, speech, subnet):
    prune_extract.main(row(folder, subnet, "--output_dir", str(tmp_path / "out")))
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    (source, _), (small, args) = load(folder), load(tmp_path / "out", "model.pth")
    assert sum(p.numel() for p in small.parameters()) == summary["parameters"]
    assert len(small.encoder.blocks) == source.supernet.num_layers(subnet)
    if "structured" in str(SUBNETS[subnet].get("mask")):
        assert summary["nonzero"] == count_weights(source, subnet)["nonzero"]
    found = args.supernet_conf["subnets"][subnet]
    assert found.get("tokens") == source.supernet.config.to_dict()["subnets"][subnet].get("tokens")
    wave = speech(1.3)
    for context in source.supernet.subnet(subnet).contexts:
        pair = [Speech2Text.from_model(one, subnet, context) for one in (source, small)]
        if context.is_full:
            outs = [one.encode_with_times(wave) for one in pair]
            assert outs[0][1] == outs[1][1]
            torch.testing.assert_close(outs[1][0], outs[0][0], atol=1e-5, rtol=0)
            continue
        (masked, streamed, times), extracted = (hear(one, wave) for one in pair)
        assert times == extracted[2]
        for other in (streamed, *extracted[:2]):
            torch.testing.assert_close(other, masked, atol=1e-4, rtol=0)


def test_a_dense_row_is_pruned_once(folder, tmp_path):
    for number, pattern in enumerate(("{block: [4, 1]}", "{structured: {kinds: [linear_units]}}")):
        out = tmp_path / str(number)
        more = ("--sparsity", "0.25", "--pattern", pattern, "--output_dir", str(out))
        prune_extract.main(row(folder, "dense", *more))
        small, _ = load(out, "model.pth")
        heads = encoder_sizes(small.encoder)["attention_heads"]
        assert len(small.encoder.blocks) == 1 and heads == 3, "those of the last block"


def test_rows_are_bundled_and_measured(folder, tmp_path, tiny_corpus):
    from espnet2_supernet.bin import latency

    scp = str(tiny_corpus.root / "valid/wav.scp")
    for name in STREAMING:
        out = tmp_path / name
        bundle.main(row(folder, name, "--output_dir", str(out), "--wav_scp", scp))
        record = json.loads((out / "comparison.json").read_text())
        assert record["differing"] == 0 and record["max_abs_diff"] <= 1e-4
    prune_extract.main(row(folder, "units", "--output_dir", str(tmp_path / "model")))
    options = "--num_utts 2 --repeats 1 --memory_utts 0 --rows torch_fp32 --use ctc".split()
    where = ["--models", str(tmp_path / "model"), "--bundles", str(tmp_path / "units")]
    out = ["--wav_scp", scp, "--output_dir", str(tmp_path / "latency")]
    latency.main([*where, *options, *out])
    theirs, ours = json.loads((tmp_path / "latency/latency.json").read_text())["rows"]
    assert ours["engine"] == "runtime" and ours["differing_from_torch_fp32"] == 0
    assert 0.4 < ours["keep_ratio"] < 0.8 and 0.4 < theirs["keep_ratio"] < 0.8


def batch(speech):
    return {
        "speech": torch.stack([torch.from_numpy(speech(1.0, seed=i)) for i in range(2)]),
        "speech_lengths": torch.tensor([16000, 12000]),
        "text": torch.tensor([[2, 3, 4], [4, 2, 0]]),
        "text_lengths": torch.tensor([3, 2]),
    }


def train_steps(args, data, steps=3):
    """Return the gradients of the last step, and the numbers of the blocks that ran."""
    torch.manual_seed(0)
    model, ran = SupernetASRTask.build_model(copy.deepcopy(args)).train(), []
    for number, block in enumerate(model.encoder.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    for _ in range(steps):
        model.zero_grad()
        loss, _, _ = model(**data)
        loss.backward()
        grads = {name: p.grad for name, p in model.named_parameters()}
        assert loss.isfinite() and [name for name, g in grads.items() if g is None] == []
        assert all(bool(grad.isfinite().all()) for grad in grads.values())
    assert len(ran) < steps * sum(model.supernet.num_layers(name) for name in SUBNETS)
    return grads, ran


@pytest.mark.parametrize("sequential", [False, True])
def test_layers_are_dropped_by_the_seed_and_every_parameter_has_a_gradient(
    folder, speech, sequential
):
    args = load(folder)[1]
    args.supernet_conf["sequential_backward"] = sequential
    args.model_conf["supernet_conf"] = args.supernet_conf
    (grads, ran), (again, ran_again) = (train_steps(args, batch(speech)) for _ in range(2))
    assert ran == ran_again
    for name, grad in grads.items():
        assert torch.equal(again[name], grad), name


def test_a_student_copies_a_row_and_streams(folder, tiny_corpus, tmp_path, capsys):
    rows = {"server": {"context": "full"}, "device": {"context": CHUNKS, "mask": BLOCKS}}
    conf = tiny_corpus.config()["supernet_conf"] | {"subnets": rows}

    def learn(teacher):
        more = {"teacher_subnet": teacher, "supernet_conf": conf, "max_epoch": 1}
        config = tiny_corpus.write_encrl_config(tmp_path / "encrl.yaml", folder, **more)
        encrl_train.main(["--config", str(config), "--output_dir", str(tmp_path / teacher)])
        return str(tmp_path / teacher / "valid.loss.ave.pth")

    with pytest.raises(ConfigError, match="'units' leaves frames out"):
        learn("units")
    for teacher in ("server", "edge"):
        weights = learn(teacher)
        capsys.readouterr()
        scp = str(tiny_corpus.root / "valid/wav.scp")
        check_streaming.main(["--asr_model_file", weights, "--wav_scp", scp])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3 and all("0 hypotheses differ" in line for line in lines)
