"""SALAD from labels to a recogniser that drops frames: training, resuming, use."""

import json

import numpy as np
import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, check_streaming, prune_extract, salad_threshold
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.tasks.salad import SaladTask

torch.set_num_threads(1)


def choose(detector, labels, tiny_corpus, out, *more):
    salad_threshold.main(
        ["--salad_model_file", str(detector / "valid.loss.ave.pth"), "--output_dir", str(out),
         "--wav_scp", str(tiny_corpus.root / "valid" / "wav.scp"),
         "--labels", str(labels / "valid" / "labels.scp"), *more]
    )  # fmt: skip
    return json.loads((out / "detector.json").read_text())


def test_training_leaves_what_espnet_leaves_and_tells_recall(detector, salad_teacher):
    names = {path.name for path in detector.iterdir()}
    assert {"config.yaml", "checkpoint.pth", "4epoch.pth", "valid.loss.ave.pth"} <= names
    told = (detector / "progress.log").read_text()
    assert "recall" in told and "keep ratio" in told and "subnets.json" not in names
    states = torch.load(detector / "4epoch.pth", weights_only=True)
    assert states["detector.threshold"].isnan()
    asr = torch.load(salad_teacher, weights_only=True)
    for key, value in states.items():  # the recogniser did not change
        if key.startswith("front.encoder.subsampling."):
            torch.testing.assert_close(value, asr[key.removeprefix("front.")])
    assert not any("blocks" in key for key in states)


def test_a_killed_training_resumes_as_if_it_had_not_been(detector, tmp_path, train_detector):
    train_detector(tmp_path / "exp", max_epoch=2)
    train_detector(tmp_path / "exp", resume=True)
    whole, resumed = (
        torch.load(folder / "4epoch.pth", weights_only=True)
        for folder in (detector, tmp_path / "exp")
    )
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, equal_nan=True)


def test_the_threshold_reaches_its_recall(detector, salad_labels, tiny_corpus, tmp_path):
    told = choose(detector, salad_labels, tiny_corpus, tmp_path / "a", "--recall", "0.9")
    assert told["recall"] >= 0.9 and len(told["curve"]) == 19
    found = choose(detector, salad_labels, tiny_corpus, tmp_path / "r", "--run_recall", "0.9")
    assert found["run_recall"] >= 0.9 and found["keep_ratio"] <= told["keep_ratio"]
    runs = round(told["teacher_keep_ratio"] * told["frames"])
    assert found["token_runs"] <= found["runs"] == runs
    bounded = choose(detector, salad_labels, tiny_corpus, tmp_path / "b", "--keep_ratio", "0.5")
    assert bounded["keep_ratio"] <= 0.5 + 3 / told["frames"]  # first frames are kept
    states = torch.load(tmp_path / "a" / "detector.pth", weights_only=True)
    assert float(states["detector.threshold"]) == pytest.approx(told["threshold"])
    with pytest.raises(ConfigError, match="--recall, --run_recall or --keep_ratio"):
        choose(detector, salad_labels, tiny_corpus, tmp_path / "c")


def test_a_recogniser_fine_tunes_and_decodes_with_dropping(
    detector, salad_labels, salad_teacher, tiny_corpus, tmp_path
):
    choose(detector, salad_labels, tiny_corpus, tmp_path, "--keep_ratio", "0.6")
    table = tiny_corpus.config()["supernet_conf"]
    for row in table["subnets"].values():
        row["tokens"] = {"kind": "salad"}
    table["schedule"] = {"kind": "constant"}
    path = tiny_corpus.write_config(
        tmp_path / "train.yaml", supernet_conf=table, max_epoch=1,
        model_conf={"detector": {"channels": 8, "kernel_size": 3}},
        init_param=[str(salad_teacher), str(tmp_path / "detector.pth")],
        freeze_param=["encoder.subsampling"],
    )  # fmt: skip
    out = tmp_path / "exp"
    asr_train.main(["--config", str(path), "--output_dir", str(out)])
    assert "kept" in (out / "progress.log").read_text()
    model = out / "valid.loss.ave.pth"
    states = torch.load(model, weights_only=True)
    for key, value in torch.load(tmp_path / "detector.pth", weights_only=True).items():
        torch.testing.assert_close(states[key], value)
    wav = str(tiny_corpus.root / "valid" / "wav.scp")
    check_streaming.main(["--asr_model_file", str(model), "--wav_scp", wav, "--piece_ms", "10,100"])
    for name in ("server", "device"):
        small = tmp_path / name
        prune_extract.main(
            ["--asr_model_file", str(model), "--subnet", name, "--output_dir", str(small),
             "--wav_scp", wav]
        )  # fmt: skip
        source, extracted = (
            Speech2Text(folder / "config.yaml", file, subnet=name)
            for folder, file in ((out, model), (small, small / "model.pth"))
        )
        speech = 0.1 * np.random.default_rng(0).standard_normal(12_000).astype(np.float32)
        assert source(speech) == extracted(speech)
        assert source.encode_with_times(speech)[1] == extracted.encode_with_times(speech)[1]


def test_a_subnet_without_salad_is_extracted_without_the_detector(
    detector, salad_labels, salad_teacher, tiny_corpus, tmp_path
):
    choose(detector, salad_labels, tiny_corpus, tmp_path, "--keep_ratio", "0.6")
    options = yaml.safe_load((salad_teacher.parent / "config.yaml").read_text())
    for conf in (options["supernet_conf"], options["model_conf"]["supernet_conf"]):
        conf["subnets"]["device"]["tokens"] = {"kind": "salad"}
    options["model_conf"]["detector"] = {"channels": 8, "kernel_size": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(options))
    states = torch.load(salad_teacher, weights_only=True)
    states |= torch.load(tmp_path / "detector.pth", weights_only=True)
    torch.save(states, tmp_path / "asr.pth")
    prune_extract.main(
        ["--asr_model_file", str(tmp_path / "asr.pth"), "--subnet", "server",
         "--output_dir", str(tmp_path / "server")]
    )  # fmt: skip
    found = torch.load(tmp_path / "server" / "model.pth", weights_only=True)
    assert not any(key.startswith("detector.") for key in found)
    assert (
        "detector"
        not in yaml.safe_load((tmp_path / "server/config.yaml").read_text())["model_conf"]
    )


def test_statistics_are_collected(tmp_path, train_detector):
    stats = train_detector(tmp_path / "stats", collect_stats=True)
    assert len((stats / "train/speech_shape").read_text().splitlines()) == 8
    out = train_detector(tmp_path / "exp", max_epoch=1)
    model, _ = SaladTask.build_model_from_file(out / "config.yaml", out / "1epoch.pth")
    assert [c.kernel_size for c in model.detector.convolutions] == [(3,), (3,)]
