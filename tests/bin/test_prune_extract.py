import json

import pytest
import torch
import yaml

from espnet2_supernet.bin import bundle, prune_extract
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError
from espnet2_supernet.tasks import extraction
from espnet2_supernet.tasks.asr import SupernetASRTask


def command(trained, out, subnet, *more) -> list[str]:
    model = ["--asr_model_file", str(trained / "valid.loss.ave.pth"), "--subnet", subnet]
    return [*model, "--output_dir", str(out), *more]


def test_a_sparse_streaming_subnet_is_extracted(trained, tiny_corpus, tmp_path, monkeypatch):
    out = tmp_path / "device"
    wav_scp = str(tiny_corpus.root / "valid/wav.scp")
    prune_extract.main(command(trained, out, "device", "--wav_scp", wav_scp))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["device"]
    summary = json.loads((out / "extract.json").read_text())
    assert summary["max_abs_diff"] <= 1e-5 and summary["nonzero"] < summary["parameters"]
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert list(config["supernet_conf"]["subnets"]) == ["device"]
    assert "mask" not in config["supernet_conf"]["subnets"]["device"]
    monkeypatch.chdir(tmp_path)
    model, _ = SupernetASRTask.build_model_from_file(out / "config.yaml", out / "model.pth")
    assert model.pruner is None and not any("mask" in key for key in model.state_dict())
    counts = model.supernet.counts("device")
    assert counts["prunable"] == counts["parameters"] or counts["prunable_nonzero"] > 0
    zeros = sum(int((p == 0).sum()) for p in model.encoder.parameters() if p.ndim == 2)
    assert zeros >= summary["prunable"] - summary["prunable_nonzero"] > 0


def test_a_dense_row_is_pruned_once(trained, tmp_path):
    out = tmp_path / "small"
    more = ["--sparsity", "0.75", "--pattern", "{block: [4, 1]}"]
    prune_extract.main(command(trained, out, "server", *more))
    summary = json.loads((out / "extract.json").read_text())
    assert summary["prunable_nonzero"] / summary["prunable"] == pytest.approx(0.25, abs=0.02)
    with pytest.raises(ConfigError, match="sparse already"):
        prune_extract.main(command(trained, out, "device", *more))
    with pytest.raises(ConfigError, match="n_m"):
        pattern = ["--sparsity", "0.75", "--pattern", "{n_m: [2, 4]}"]
        prune_extract.main(command(trained, out, "server", *pattern))


def extract_half(trained, out, pattern):
    """Cut half of the units out of the dense row: the summary, and the encoder's configuration."""
    prune_extract.main(command(trained, out, "server", "--sparsity", "0.5", "--pattern", pattern))
    summary = json.loads((out / "extract.json").read_text())
    before = json.loads((trained / "subnets.json").read_text())["server"]
    assert summary["max_abs_diff"] <= 1e-5
    assert summary["nonzero"] == summary["parameters"] < before["parameters"]
    return summary, yaml.safe_load((out / "config.yaml").read_text())["encoder_conf"]


def test_a_structured_row_gets_smaller_and_espnet_loads_it(trained, tmp_path, monkeypatch):
    from espnet2.bin.asr_inference import Speech2Text

    out = tmp_path / "small"
    kinds = "[attention_heads, linear_units, convolution_channels]"
    pattern = f"{{structured: {{kinds: {kinds}}}}}"
    summary, conf = extract_half(trained, out, pattern)
    assert conf["attention_heads"] == 1 and conf["attention_head_size"] == 8
    assert conf["linear_units"] == 16 and conf["convolution_channels"] == 8
    monkeypatch.chdir(tmp_path)
    stock = Speech2Text(out / "config.yaml", out / "model.pth", ctc_weight=1.0, beam_size=2)
    assert sum(p.numel() for p in stock.asr_model.parameters()) == summary["parameters"]
    assert stock(torch.randn(8000).numpy())
    with pytest.raises(ConfigError, match="leaves fewer than min_kept 1 attention_heads"):
        prune_extract.main(
            command(trained, out, "server", "--sparsity", "0.8", "--pattern", pattern)
        )


def test_dimensions_of_heads_are_cut_out_and_the_rest_makes_a_bundle(trained, tmp_path):
    pattern = "{structured: {kinds: [key_dimensions, value_dimensions]}}"
    out = tmp_path / "small"
    _, conf = extract_half(trained, out, pattern)
    assert conf["attention_heads"] == 2 and conf["attention_head_size"] == 8
    assert conf["attention_key_size"] == conf["attention_value_size"] == 4
    states = torch.load(out / "model.pth", weights_only=True)
    assert states["encoder.blocks.0.attention.rotary_pairs"].shape == (2,)
    prune_extract.main(command(trained, tmp_path / "device", "device"))
    model = ["--asr_model_file", str(tmp_path / "device" / "model.pth"), "--subnet", "device"]
    more = ["--output_dir", str(tmp_path / "x"), "--sparsity", "0.5", "--pattern", pattern]
    bundle.main([*model, *more])
    sizes = json.loads((tmp_path / "x/bundle.json").read_text())["encoder"]
    assert (sizes["head_size"], sizes["key_size"], sizes["value_size"]) == (8, 4, 4)
    assert json.loads((tmp_path / "x/comparison.json").read_text())["differing"] == 0


def test_whole_layers_are_cut_out_and_the_rest_makes_a_bundle(trained, tmp_path):
    more = ["--sparsity", "0.5", "--pattern", "{structured: {kinds: [layers]}}"]
    prune_extract.main(command(trained, tmp_path / "device", "device"))
    model = ["--asr_model_file", str(tmp_path / "device" / "model.pth"), "--subnet", "device"]
    prune_extract.main([*model, "--output_dir", str(tmp_path / "small"), *more])
    summary = json.loads((tmp_path / "small/extract.json").read_text())
    assert summary["max_abs_diff"] <= 1e-5
    config = yaml.safe_load((tmp_path / "small/config.yaml").read_text())
    assert config["encoder_conf"]["num_blocks"] == 1
    bundle.main([*model, "--output_dir", str(tmp_path / "bundle"), *more])
    description = json.loads((tmp_path / "bundle/bundle.json").read_text())
    assert description["encoder"]["num_blocks"] == 1


def test_a_difference_is_an_error_and_nothing_is_written(trained, tmp_path, monkeypatch):
    states = extraction.subnet_states

    def damaged(model, name):
        changed = {key: value.clone() for key, value in states(model, name).items()}
        changed["encoder.norm.weight"] += 0.1
        return changed

    monkeypatch.setattr(extraction, "subnet_states", damaged)
    with pytest.raises(CheckpointError, match="differs from its source"):
        prune_extract.main(command(trained, tmp_path / "device", "device"))
    assert not list(tmp_path.iterdir())


def test_bad_input_is_named(trained, tmp_path):
    with pytest.raises(ConfigError, match="no subnet 'phone'; this supernet has: server, device"):
        prune_extract.main(command(trained, tmp_path / "x", "phone"))
    with pytest.raises(DataError, match="no_such"):
        more = ["--wav_scp", str(tmp_path / "no_such.scp")]
        prune_extract.main(command(trained, tmp_path / "x", "device", *more))
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        config = ["--asr_train_config", str(trained / "config.yaml")]
        cmd = ["--subnet", "device", "--output_dir", str(tmp_path / "x")]
        prune_extract.main([*config, *cmd, "--asr_model_file", str(tmp_path / "empty.pth")])
