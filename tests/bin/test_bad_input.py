"""Bad models, sounds and options, for every command that loads a model."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml

from espnet2_supernet.bin import (
    asr_inference,
    asr_train,
    average_checkpoints,
    check_streaming,
    prune_extract,
    run_main,
)


def error_of(main, *cmd, capsys) -> str:
    """Run a command that must fail; return its message."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_main(lambda: main([str(one) for one in cmd]))
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code in (1, 2) and "error: " in lines[-1]
    return lines[-1]


@pytest.fixture(scope="module")
def models(trained, tmp_path_factory):
    """Return a folder of models and configurations, each spoilt in another way."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(trained / "config.yaml", folder)
    shutil.copy(trained / "checkpoint.pth", folder)
    whole = (trained / "4epoch.pth").read_bytes()
    (folder / "good.pth").write_bytes(whole)
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pth").write_bytes(b"")
    (folder / "text.pth").write_text("hello")
    states = torch.load(trained / "4epoch.pth", weights_only=True)
    mask = next(key for key, value in states.items() if value.dtype == torch.bool)
    torn = states[mask].clone()
    torn[0] = ~torn[0]
    torch.save({**states, mask: torn}, folder / "torn.pth")
    weight = next(key for key, value in states.items() if value.is_floating_point())
    torch.save({**states, weight: states[weight] * float("nan")}, folder / "nan.pth")
    config = yaml.safe_load((trained / "config.yaml").read_text())
    encoder = config["encoder_conf"]
    for name, conf in (("deep", {"num_blocks": 3}), ("typo", {"num_blokcs": 2})):
        changed = {**config, "encoder_conf": {**encoder, **conf}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(changed))
    (folder / "void.yaml").write_text("")
    (folder / "stub.yaml").write_text("model_conf: {}\n")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    return folder


BAD_MODELS = {
    "missing": ("none.pth", "config", "no such"),
    "truncated": ("truncated.pth", "config", "truncated.pth: not a readable model file"),
    "empty": ("empty.pth", "config", "empty.pth: the model file is empty"),
    "text": ("text.pth", "config", "text.pth: not a readable model file"),
    "checkpoint": ("checkpoint.pth", "config", "not checkpoint.pth"),
    "torn_mask": ("torn.pth", "config", "mask is not of pattern block 4x1"),
    "other_configuration": ("good.pth", "deep", "belongs to another configuration"),
    "unknown_key": ("good.pth", "typo", "unknown key 'num_blokcs'; did you mean 'num_blocks'"),
    "missing_config": ("good.pth", "none", "none.yaml"),
    "empty_config": ("good.pth", "void", "void.yaml: not a config.yaml"),
    "stub_config": ("good.pth", "stub", "stub.yaml: not a config.yaml"),
    "binary_config": ("good.pth", "binary", "binary.yaml: not YAML"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_models(models, tiny_corpus, tmp_path, capsys, kind):
    file, config, message = BAD_MODELS[kind]
    model = ["--asr_model_file", models / file, "--asr_train_config", models / f"{config}.yaml"]
    scp, out = tiny_corpus.root / "train" / "wav.scp", tmp_path / "out"
    out.mkdir()
    (out / "text").write_text("kept\n")
    triple = ["--data_path_and_name_and_type", f"{scp},speech,sound", "--output_dir", out]
    assert message in error_of(asr_inference.main, *model, *triple, capsys=capsys)
    assert message in error_of(check_streaming.main, *model, "--wav_scp", scp, capsys=capsys)
    extract = ["--subnet", "device", "--output_dir", out]
    assert message in error_of(prune_extract.main, *model, *extract, capsys=capsys)
    if kind != "torn_mask":  # the mask is estimated anew
        average = ["--model_files", model[1], "--asr_train_config", model[3]]
        told = error_of(average_checkpoints.main, *average, "--out", out / "a.pth", capsys=capsys)
        assert message in told
    assert [path.name for path in out.iterdir()] == ["text"]
    assert (out / "text").read_text() == "kept\n"


def test_weights_that_are_not_finite(models, tiny_corpus, tmp_path, capsys):
    sound = tiny_corpus.root / "train" / "train0.wav"
    nan = ["--asr_model_file", models / "nan.pth"]
    assert "NaN" in error_of(asr_inference.main, *nan, "--input", sound, capsys=capsys)
    told = error_of(
        average_checkpoints.main, "--model_files", models / "nan.pth", models / "good.pth",
        "--out", tmp_path / "a.pth", capsys=capsys,
    )  # fmt: skip
    assert "is not finite" in told and not (tmp_path / "a.pth").exists()


BAD_SOUNDS = {
    "rate": (np.zeros(8000), 8000, "sampling rate 8000 Hz, 16000 expected"),
    "stereo": (np.zeros((8000, 2)), 16000, "2 channels"),
    "zero_length": (np.zeros(0), 16000, "no samples"),
    "nan": (np.full(8000, np.nan), 16000, "NaN"),
    "truncated": (np.ones(8000), 16000, "truncated"),
    "unreadable": (None, 0, "unreadable audio"),
    "missing": (None, 0, "no such audio file"),
}


@pytest.mark.parametrize("kind", BAD_SOUNDS)
def test_bad_sounds(models, tmp_path, capsys, kind):
    samples, rate, message = BAD_SOUNDS[kind]
    path, scp = tmp_path / "bad.wav", tmp_path / "wav.scp"
    if samples is not None:
        soundfile.write(path, samples, rate, subtype="FLOAT")
    elif kind == "unreadable":
        path.write_text("no audio here")
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:9000])
    scp.write_text(f"u {path}\n")
    model, out = ["--asr_model_file", models / "good.pth"], tmp_path / "out"
    triple = ["--data_path_and_name_and_type", f"{scp},speech,sound", "--output_dir", out]
    assert message in error_of(asr_inference.main, *model, *triple, capsys=capsys)
    assert not (out / "text").exists()
    assert message in error_of(check_streaming.main, *model, "--wav_scp", scp, capsys=capsys)
    extract = ["--subnet", "device", "--output_dir", tmp_path / "x", "--wav_scp", scp]
    assert message in error_of(prune_extract.main, *model, *extract, capsys=capsys)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk_size", "foo"], "'foo': a whole number of encoder frames, or 'full'"),
        (["--chunk_size", "3.5"], "a whole number of encoder frames"),
        (["--chunk_size", "0"], "chunk_size must be a whole number"),
        (["--chunk_size", "3"], "not trained for chunk 3"),
        (["--left_context", "-1"], "left_context must be a whole number"),
        (["--subnet", "dev"], "no subnet 'dev'; this supernet has: server, device"),
        (["--log_level", "LOUD"], "--log_level: invalid choice"),
        (["--search", "beam", "--length_bonus", "nan"], "length_bonus: a finite number"),
        (["--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_bad_options_of_both_decoders(models, tiny_corpus, tmp_path, capsys, options, message):
    model = ["--asr_model_file", models / "good.pth", "--subnet", "device"]
    scp = tiny_corpus.root / "train" / "wav.scp"
    triple = ["--data_path_and_name_and_type", f"{scp},speech,sound", "--output_dir", tmp_path]
    assert message in error_of(asr_inference.main, *model, *triple, *options, capsys=capsys)
    checked = [*model, "--wav_scp", scp, *options]
    assert message in error_of(check_streaming.main, *checked, capsys=capsys)
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_written(models, tiny_corpus, tmp_path, capsys):
    scp, file = tiny_corpus.root / "train" / "wav.scp", tmp_path / "file"
    file.write_text("kept")
    model = ["--asr_model_file", models / "good.pth", "--subnet", "device"]
    check = ["--wav_scp", scp, "--max_utts", 1, "--piece_ms", 100, "--output", file / "r.json"]
    told = error_of(check_streaming.main, *model, *check, capsys=capsys)
    assert "r.json: cannot be written" in told
    told = error_of(prune_extract.main, *model, "--output_dir", file, capsys=capsys)
    assert "cannot write" in told
    endless = ["--input", scp, "--mode", "streamed", "--piece_ms", "inf"]
    assert "--piece_ms inf" in error_of(asr_inference.main, *model, *endless, capsys=capsys)
    none = ["--output_dir", file, "--wav_scp", scp, "--num_utts", 0]
    assert "--num_utts 0" in error_of(prune_extract.main, *model, *none, capsys=capsys)
    assert file.read_text() == "kept"


def spoilt_config(tiny_corpus, tmp_path, samples, rate, **changes):
    """Write a configuration of a corpus whose utterance train3 is another sound."""
    shutil.copytree(tiny_corpus.root / "train", tmp_path / "train")
    soundfile.write(tmp_path / "train" / "train3.wav", samples, rate, subtype="FLOAT")
    scp = tmp_path / "train" / "wav.scp"
    scp.write_text(scp.read_text().replace(str(tiny_corpus.root), str(tmp_path)))
    data = [[str(scp), "speech", "sound"], [str(tmp_path / "train/text"), "text", "text"]]
    changes = {"train_data_path_and_name_and_type": data, "max_epoch": 1, **changes}
    return tiny_corpus.write_config(tmp_path / "train.yaml", **changes)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_training_stops_at_a_bad_sound(tiny_corpus, tmp_path, capsys, num_workers):
    samples = np.full(8000, np.nan)
    config = spoilt_config(tiny_corpus, tmp_path, samples, 16000, num_workers=num_workers)
    cmd = ["--config", config, "--output_dir", tmp_path / "exp"]
    told = error_of(asr_train.main, *cmd, capsys=capsys)
    assert told.startswith("error: utterance 'train3': ") and "NaN" in told


def test_statistics_stop_at_a_bad_sound(tiny_corpus, tmp_path, capsys):
    shapes = [str(tiny_corpus.root / "train" / "wav.scp")]
    config = spoilt_config(tiny_corpus, tmp_path, np.zeros(4000), 8000, train_shape_file=shapes)
    cmd = ["--config", config, "--output_dir", tmp_path / "stats", "--collect_stats", "true"]
    told = error_of(asr_train.main, *cmd, capsys=capsys)
    assert "train3.wav: sampling rate 8000 Hz, 16000 expected" in told
    assert not (tmp_path / "stats" / "train" / "feats_stats.npz").exists()


@pytest.mark.parametrize("content", [None, "", "- 1\n", "a: [1\n"])
def test_training_without_a_usable_configuration(tmp_path, capsys, content):
    path = tmp_path / "train.yaml"
    if content is not None:
        path.write_text(content)
    told = error_of(asr_train.main, "--config", path, "--output_dir", tmp_path, capsys=capsys)
    assert told.startswith(f"error: --config {path}: ")


def test_one_long_utterance_with_too_much_text_is_trained(tiny_corpus, tmp_path):
    """A set of one utterance, whose tokens exceed its frames, gives finite weights (loss 0)."""
    noise = np.random.default_rng(0).normal(0, 0.1, 48000)
    config = spoilt_config(tiny_corpus, tmp_path, noise, 16000)
    text = tmp_path / "train" / "text"
    words = dict(line.split() for line in text.read_text().splitlines())
    words["train0"] = "ABC" * 40
    text.write_text("".join(f"{key} {value}\n" for key, value in words.items()))
    (tmp_path / "shape").write_text("train3 48000\ntrain0 8000\n")
    for name, shape in (("both", "train3 48000\ntrain0 8000\n"), ("one", "train0 8000\n")):
        (tmp_path / "shape").write_text(shape)
        changes = yaml.safe_load(config.read_text())
        changes["train_shape_file"] = [str(tmp_path / "shape")]
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(changes))
        cmd = ["--config", str(tmp_path / "c.yaml"), "--output_dir", str(tmp_path / name)]
        asr_train.main(cmd)
        states = torch.load(tmp_path / name / "1epoch.pth", weights_only=True)
        assert all(bool(value.isfinite().all()) for value in states.values())
