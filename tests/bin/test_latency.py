"""The command of stage 13 on a tiny model: structure, not speed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from espnet2_supernet.bin import latency, prune_extract
from espnet2_supernet.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def models(trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("latency")
    for name in ("server", "device"):
        prune_extract.main(
            ["--asr_model_file", str(next(trained.glob("valid.*.ave.pth"))), "--subnet", name,
             "--output_dir", str(root / name)]
        )  # fmt: skip
    return [str(root / "server"), str(root / "device")]


def measure(models, corpus, out, *options):
    valid = corpus.root / "valid"
    latency.main(
        ["--models", *models, "--wav_scp", str(valid / "wav.scp"), "--output_dir", str(out),
         *map(str, options)]
    )  # fmt: skip
    return json.loads((out / "latency.json").read_text())


def test_every_row_has_every_number(models, tiny_corpus, tmp_path, capsys):
    text = tiny_corpus.root / "valid" / "text"
    options = ("--text", text, "--repeats", 2, "--memory_utts", 0, "--num_utts", 2)
    found = measure(models, tiny_corpus, tmp_path, *options, "--rows", "torch_fp32", "torch_int8")
    assert "latency.json" in capsys.readouterr().out
    server, device, int8 = found["rows"]
    assert [row["label"] for row in found["rows"]] == [
        "server torch_fp32", "device torch_fp32", "device torch_int8"
    ]  # fmt: skip
    assert server["chunk_ms"] is None and server["algorithmic_latency_ms"] is None
    assert device["algorithmic_latency_ms"] == 4 * 40 + 15
    assert device["chunk_ms"]["chunks"] >= 2
    assert int8["precision"] == "int8" and int8["bytes_on_disk"] > 9000
    for row in found["rows"]:
        for clock in ("wall", "cpu"):
            factors = row["real_time_factor"][clock]
            parts = factors["features"] + factors["encoder"] + factors["decoder"]
            assert 0 < parts and factors["total"] > 0
        assert row["accuracy"]["words"] == 2
        assert "token_delay_ms" in row
    assert device["differing_from_torch_fp32"] == 0
    assert found["machine"]["cpu"] and found["machine"]["threads"] == 1
    assert found["utterances"] == 2 and found["repeats"] == 2


def test_memory_is_that_of_a_process_with_one_row(models, tiny_corpus, tmp_path):
    options = ("--repeats", 1, "--num_utts", 1, "--memory_utts", 1, "--rows", "torch_fp32")
    [row] = measure(models[1:], tiny_corpus, tmp_path, *options)["rows"]
    assert row["peak_memory_bytes"] > 100_000_000, "torch is loaded"


def test_other_chunk_sizes_are_rows_of_their_own(models, tiny_corpus, tmp_path):
    (tmp_path / "decode.yaml").write_text("search: beam\nbeam_size: 4\n")
    options = ("--inference_config", tmp_path / "decode.yaml", "--beam_size", 2)
    options += ("--chunk_sizes", 4, 8, "--repeats", 1, "--memory_utts", 0, "--num_utts", 1)
    found = measure(models[1:], tiny_corpus, tmp_path, "--rows", "torch_fp32", *options)
    assert [row["context"]["chunk_size"] for row in found["rows"]] == [4, 8]
    assert {(row["search"], row["beam_size"]) for row in found["rows"]} == {("beam", 2)}
    assert all(row["peak_memory_bytes"] is None for row in found["rows"])
    assert all("accuracy" not in row and "token_delay_ms" not in row for row in found["rows"])


def test_bad_input(models, tiny_corpus, trained, tmp_path):
    with pytest.raises(ConfigError, match="one subnet"):
        measure([str(trained)], tiny_corpus, tmp_path)
    with pytest.raises(ConfigError, match="--repeats 0"):
        measure(models, tiny_corpus, tmp_path, "--repeats", 0)
    (tmp_path / "decode.yaml").write_text("lm_weight: 0.3\n")
    with pytest.raises(ConfigError, match="unknown key 'lm_weight'"):
        measure(models, tiny_corpus, tmp_path, "--inference_config", tmp_path / "decode.yaml")
    (tmp_path / "text").write_text("other A B\n")
    with pytest.raises(DataError, match="'valid0' .*is missing"):
        measure(models[1:], tiny_corpus, tmp_path, "--text", tmp_path / "text")
    assert not (tmp_path / "latency.json").exists()


def test_experiments_side_by_side(models, tiny_corpus, tmp_path):
    other = tmp_path / "asr_dropping" / "device"
    shutil.copytree(models[1], other)
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["supernet_conf"]["subnets"]["device"]["tokens"] = {"kind": "downsample", "factor": 2}
    config["model_conf"].pop("supernet_conf", None)
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    options = ("--repeats", 1, "--num_utts", 2, "--memory_utts", 0, "--rows", "torch_fp32")
    out = tmp_path / "latency"
    dense, dropping = measure([models[1], str(other)], tiny_corpus, out, *options)["rows"]
    assert dense["label"] == f"{Path(models[1]).parent.name}/device torch_fp32"
    assert dropping["label"] == "asr_dropping/device torch_fp32"
    assert (out / dropping["experiment"]).resolve() == other.parent
    assert dense["keep_ratio"] is None and 0.5 <= dropping["keep_ratio"] < 0.6
    assert dense["differing_from_torch_fp32"] == dropping["differing_from_torch_fp32"] == 0
    config["token_list"] = config["token_list"][::-1]
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="other token lists; measure them apart"):
        measure([models[1], str(other)], tiny_corpus, out, *options)
