"""SALAD from labels to a recogniser that drops frames: training, resuming, use, bad input."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from espnet2_supernet.bin import (
    asr_train,
    check_streaming,
    prune_extract,
    salad_labels,
    salad_threshold,
    salad_train,
)
from espnet2_supernet.damon.labels import LabelInfo, write_labels
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError
from espnet2_supernet.tasks.salad import SaladTask

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def teacher(trained, tmp_path_factory):
    """A recogniser whose CTC head does not say blank everywhere, and its labels."""
    root = tmp_path_factory.mktemp("teacher")
    states = torch.load(trained / "valid.loss.ave.pth", weights_only=True)
    generator = torch.Generator().manual_seed(0)
    shape = states["ctc.ctc_lo.weight"].shape
    states["ctc.ctc_lo.weight"] = 20 * torch.randn(shape, generator=generator)
    shutil.copy(trained / "config.yaml", root)
    torch.save(states, root / "asr.pth")
    return root / "asr.pth"


@pytest.fixture(scope="module")
def labels(teacher, tiny_corpus):
    for name in ("train", "valid"):
        wav, out = tiny_corpus.root / name / "wav.scp", teacher.parent / "labels" / name
        salad_labels.main(
            ["--asr_model_file", str(teacher), "--wav_scp", str(wav), "--output_dir", str(out)]
        )
    return teacher.parent / "labels"


def config(tiny_corpus, labels, **changes):
    given = {
        key: value
        for key, value in tiny_corpus.config().items()
        if key.startswith(("train_shape", "valid_shape", "batch", "optim", "use_", "num_workers"))
    }
    for name in ("train", "valid"):
        given[f"{name}_data_path_and_name_and_type"] = [
            [str(tiny_corpus.root / name / "wav.scp"), "speech", "sound"],
            [str(labels / name / "labels.scp"), "labels", "kaldi_ark"],
        ]
    given |= {
        "asr_model_file": str(labels.parent / "asr.pth"),
        "model_conf": {"channels": 8, "kernel_size": 3},
        "optim_conf": {"lr": 0.01},
        "max_epoch": 4,
        "seed": 3,
        "keep_nbest_models": 2,
        "best_model_criterion": [["valid", "loss", "min"]],
    }
    return given | changes


def train(tiny_corpus, labels, out, **changes):
    path = out.parent / f"{out.name}.yaml"
    path.write_text(yaml.safe_dump(config(tiny_corpus, labels, **changes)))
    salad_train.main(["--config", str(path), "--output_dir", str(out)])
    return out


@pytest.fixture(scope="module")
def detector(tiny_corpus, labels):
    return train(tiny_corpus, labels, labels.parent / "salad")


def choose(detector, labels, tiny_corpus, out, *more):
    salad_threshold.main(
        ["--salad_model_file", str(detector / "valid.loss.ave.pth"), "--output_dir", str(out),
         "--wav_scp", str(tiny_corpus.root / "valid" / "wav.scp"),
         "--labels", str(labels / "valid" / "labels.scp"), *more]
    )  # fmt: skip
    return json.loads((out / "detector.json").read_text())


def test_training_leaves_what_espnet_leaves_and_tells_recall(detector, teacher):
    names = {path.name for path in detector.iterdir()}
    assert {"config.yaml", "checkpoint.pth", "4epoch.pth", "valid.loss.ave.pth"} <= names
    told = (detector / "progress.log").read_text()
    assert "recall" in told and "keep ratio" in told and "subnets.json" not in names
    states = torch.load(detector / "4epoch.pth", weights_only=True)
    assert states["detector.threshold"].isnan()
    asr = torch.load(teacher, weights_only=True)
    for key, value in states.items():  # the recogniser did not change
        if key.startswith("front.encoder.subsampling."):
            torch.testing.assert_close(value, asr[key.removeprefix("front.")])
    assert not any("blocks" in key for key in states)


def test_a_killed_training_resumes_as_if_it_had_not_been(detector, tiny_corpus, labels, tmp_path):
    train(tiny_corpus, labels, tmp_path / "exp", max_epoch=2)
    train(tiny_corpus, labels, tmp_path / "exp", resume=True)
    whole, resumed = (
        torch.load(folder / "4epoch.pth", weights_only=True)
        for folder in (detector, tmp_path / "exp")
    )
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, equal_nan=True)


def test_the_threshold_reaches_its_recall(detector, labels, tiny_corpus, tmp_path):
    told = choose(detector, labels, tiny_corpus, tmp_path / "a", "--recall", "0.9")
    assert told["recall"] >= 0.9 and len(told["curve"]) == 19
    found = choose(detector, labels, tiny_corpus, tmp_path / "r", "--run_recall", "0.9")
    assert found["run_recall"] >= 0.9 and found["keep_ratio"] <= told["keep_ratio"]
    runs = round(told["teacher_keep_ratio"] * told["frames"])
    assert found["token_runs"] <= found["runs"] == runs
    bounded = choose(detector, labels, tiny_corpus, tmp_path / "b", "--keep_ratio", "0.5")
    assert bounded["keep_ratio"] <= 0.5 + 3 / told["frames"]  # first frames are kept
    states = torch.load(tmp_path / "a" / "detector.pth", weights_only=True)
    assert float(states["detector.threshold"]) == pytest.approx(told["threshold"])
    with pytest.raises(ConfigError, match="--recall, --run_recall or --keep_ratio"):
        choose(detector, labels, tiny_corpus, tmp_path / "c")


def test_a_recogniser_fine_tunes_and_decodes_with_dropping(
    detector, labels, teacher, tiny_corpus, tmp_path
):
    choose(detector, labels, tiny_corpus, tmp_path, "--keep_ratio", "0.6")
    table = tiny_corpus.config()["supernet_conf"]
    for row in table["subnets"].values():
        row["tokens"] = {"kind": "salad"}
    table["schedule"] = {"kind": "constant"}
    path = tiny_corpus.write_config(
        tmp_path / "train.yaml", supernet_conf=table, max_epoch=1,
        model_conf={"detector": {"channels": 8, "kernel_size": 3}},
        init_param=[str(teacher), str(tmp_path / "detector.pth")],
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
    detector, labels, teacher, tiny_corpus, tmp_path
):
    choose(detector, labels, tiny_corpus, tmp_path, "--keep_ratio", "0.6")
    options = yaml.safe_load((teacher.parent / "config.yaml").read_text())
    for conf in (options["supernet_conf"], options["model_conf"]["supernet_conf"]):
        conf["subnets"]["device"]["tokens"] = {"kind": "salad"}
    options["model_conf"]["detector"] = {"channels": 8, "kernel_size": 3}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(options))
    states = torch.load(teacher, weights_only=True)
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


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"asr_model_file": None}, ConfigError, "asr_model_file: not given"),
        ({"asr_model_file": "none.pth"}, CheckpointError, "none.pth: no such file"),
        ({"model_conf": {"channel": 8}}, ConfigError, "unknown key 'channel'; did you mean"),
        ({"model_conf": {"channels": 0}}, ConfigError, "channels is a whole number from 1"),
        ({"model_conf": {"num_layers": 0}}, ConfigError, "num_layers is a whole number from 1"),
        ({"model_conf": {"first_n": 0}}, ConfigError, "first_n: a whole number from 1"),
        ({"model_conf": {"positive_weight": 0}}, ConfigError, "positive_weight: above 0"),
        ({"best_model_criterion": [["valid", "recal", "max"]]}, ConfigError, "mean 'recall'"),
    ],
)
def test_bad_configurations(tiny_corpus, labels, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        train(tiny_corpus, labels, tmp_path / "exp", **changes)
    assert not (tmp_path / "exp" / "checkpoint.pth").exists()


def relabelled(labels, tmp_path, change, **info):
    """Copy labels with a change; return the folder of a new recogniser's labels."""
    import kaldiio

    made = json.loads((labels / "train" / "labels.json").read_text())
    made.pop("statistics")
    made = LabelInfo(**{**made, "tokens": tuple(made["tokens"]), **info})
    for name in ("train", "valid"):
        table = kaldiio.load_scp(str(labels / name / "labels.scp"))
        write_labels(tmp_path / "l" / name, [(k, change(v)) for k, v in table.items()], made)
    shutil.copy(labels.parent / "asr.pth", tmp_path)
    shutil.copy(labels.parent / "config.yaml", tmp_path)
    return tmp_path / "l"


def test_labels_of_other_tokens_are_refused(tiny_corpus, labels, tmp_path):
    other = relabelled(labels, tmp_path, lambda x: x, tokens=("<blank>", "X", "<sos/eos>"))
    with pytest.raises(ConfigError, match="labels are of another token list"):
        train(tiny_corpus, other, tmp_path / "exp")


def test_labels_of_other_frames_name_the_utterance(tiny_corpus, labels, tmp_path):
    other = relabelled(labels, tmp_path, lambda x: np.repeat(x, 2))
    with pytest.raises(DataError, match=r"utterance 'train\d': \d+ labels for \d+ frames"):
        train(tiny_corpus, other, tmp_path / "exp")


def test_another_recogniser_cannot_be_resumed(detector, tiny_corpus, labels, tmp_path):
    shutil.copytree(detector, tmp_path / "exp")
    with pytest.raises(CheckpointError, match="model_conf.first_n"):
        train(tiny_corpus, labels, tmp_path / "exp", resume=True, max_epoch=5,
              model_conf={"channels": 8, "kernel_size": 3, "first_n": 2})  # fmt: skip


def test_statistics_are_collected(tiny_corpus, labels, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config(tiny_corpus, labels)))
    salad_train.main(
        ["--config", str(path), "--output_dir", str(tmp_path / "s"), "--collect_stats", "true"]
    )
    assert len((tmp_path / "s/train/speech_shape").read_text().splitlines()) == 8
    model, _ = SaladTask.build_model_from_file(
        *[train(tiny_corpus, labels, tmp_path / "exp", max_epoch=1) / n
          for n in ("config.yaml", "1epoch.pth")]
    )  # fmt: skip
    assert [c.kernel_size for c in model.detector.convolutions] == [(3,), (3,)]
