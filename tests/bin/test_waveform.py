"""From the waveform through the commands: statistics, pre-training, recognition, extraction."""

import json

import torch
import yaml

from espnet2_supernet.bin import asr_train, check_streaming, prune_extract, ssl_train

MODEL = {
    "frontend": "waveform_conv",
    "frontend_conf": {"conv_feature_layers": [[6, 10, 5], *[[6, 3, 2]] * 4, *[[6, 2, 2]] * 2]},
    "normalize": None,
    "normalize_conf": {},
    "encoder": "supernet_wav2vec2",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 1,
        "conv_pos": 8, "conv_pos_groups": 4,
    },
}  # fmt: skip


def run(command, path, config, *options):
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    command.main(["--config", f"{path}.yaml", "--output_dir", str(path), *options])


def test_all_stages(tiny_corpus, tmp_path, capsys):
    torch.set_num_threads(1)
    ssl, asr = tmp_path / "ssl", tmp_path / "asr"
    pretraining = tiny_corpus.ssl_config(**MODEL, max_epoch=2)
    run(ssl_train, tmp_path / "stats", pretraining, "--collect_stats", "true")
    shapes = (tmp_path / "stats/train/speech_shape").read_text()
    assert len(shapes.splitlines()) == 8
    run(ssl_train, ssl, pretraining)
    table = tiny_corpus.config()["supernet_conf"]
    contexts = {"chunk_size": [8, 4], "left_context": 8, "right_context": 2}
    table["subnets"]["device"]["context"] = contexts
    recognition = tiny_corpus.config(
        **MODEL, max_epoch=2, supernet_conf=table, freeze_param=["frontend"],
        ssl_model_file=str(ssl / "2epoch.pth"),
    )  # fmt: skip
    run(asr_train, asr, recognition)
    before, after = (torch.load(path / "2epoch.pth", weights_only=True) for path in (ssl, asr))
    frozen = [key for key in after if key.startswith("frontend.")]
    assert len(frozen) == 9 and all(torch.equal(after[key], before[key]) for key in frozen)
    key = "encoder.blocks.1.attention.linear_q.weight"
    assert not torch.equal(after[key], before[key])
    files = ["--asr_model_file", str(asr / "2epoch.pth")]
    sounds = ["--wav_scp", str(tiny_corpus.root / "valid/wav.scp")]
    capsys.readouterr()
    check_streaming.main([*files, *sounds, "--output", str(tmp_path / "report.json")])
    assert "chunk 160 ms, left 160 ms, right 40 ms" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert all(row["max_abs_diff"] <= 1e-4 and not row["differing"] for row in report)
    out = tmp_path / "device"
    prune_extract.main([*files, *sounds, "--subnet", "device", "--output_dir", str(out)])
    extracted = json.loads((out / "extract.json").read_text())
    assert extracted["max_abs_diff"] <= 1e-5
