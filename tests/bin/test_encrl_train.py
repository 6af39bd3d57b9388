"""The command that trains a student: from configuration to checkpoints, without any text."""

import hashlib
import json

import pytest
import torch
import yaml

from espnet2_supernet.asr.model import SupernetASRModel
from espnet2_supernet.bin import asr_inference, asr_train, encrl_train, prune_extract
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask


def run(tiny_corpus, tmp_path, teacher, *more, **changes):
    config = tiny_corpus.write_encrl_config(tmp_path / "train_encrl.yaml", teacher, **changes)
    encrl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp"), *more])
    return tmp_path / "exp"


def test_checkpoints_are_a_recognisers_and_hold_no_teacher(student, trained):
    names = {path.name for path in student.iterdir()}
    assert {"config.yaml", "checkpoint.pth", "4epoch.pth", "valid.loss.ave.pth"} <= names
    states = torch.load(student / "4epoch.pth", weights_only=True)
    teacher = torch.load(trained / "4epoch.pth", weights_only=True)
    kept = {key for key in teacher if not key.startswith("encoder.blocks.1.")}
    assert set(states) == kept, "one block less, and nothing else"
    options = yaml.safe_load((student / "config.yaml").read_text())
    digest = hashlib.sha256((trained / "valid.loss.ave.pth").read_bytes()).hexdigest()
    assert options["teacher_sha256"] == digest and options["model"] == "encrl"
    stats = torch.load(student / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    wanted = {f"{key}_{name}" for key in ("loss_mse", "loss_clip", "retrieval", "agreement")
              for name in ("server", "device")}  # fmt: skip
    assert wanted <= set(stats[4]["train"]) and wanted <= set(stats[4]["valid"])
    assert stats[4]["train"]["loss"] < stats[1]["train"]["loss"]
    told = (student / "progress.log").read_text().splitlines()
    assert "agreement" in told[-1]


@pytest.mark.parametrize("subnet", ["server", "device"])
def test_a_student_is_decoded_as_any_recogniser(student, tiny_corpus, tmp_path, subnet):
    model, _ = SupernetASRTask.build_model_from_file(model_file=student / "valid.loss.ave.pth")
    assert len(model.encoder.blocks) == 1 and model.teacher is None
    cmd = ["--asr_model_file", str(student / "valid.loss.ave.pth"), "--subnet", subnet]
    scp = f"{tiny_corpus.root}/valid/wav.scp,speech,sound"
    asr_inference.main(
        [*cmd, "--data_path_and_name_and_type", scp, "--output_dir", str(tmp_path / "out")]
    )
    assert len((tmp_path / "out/text").read_text().splitlines()) == 3


@pytest.mark.parametrize("subnet", ["server", "device"])
def test_a_student_is_extracted_as_a_plain_recogniser(student, tmp_path, subnet):
    cmd = ["--asr_model_file", str(student / "valid.loss.ave.pth"), "--subnet", subnet]
    prune_extract.main([*cmd, "--output_dir", str(tmp_path / "out")])
    summary = json.loads((tmp_path / "out/extract.json").read_text())
    model, args = SupernetASRTask.build_model_from_file(model_file=tmp_path / "out/model.pth")
    assert type(model) is SupernetASRModel and args.model == "supernet"
    assert sum(p.numel() for p in model.parameters()) == summary["parameters"]
    assert summary["max_abs_diff"] <= 1e-5 and "losses" not in args.model_conf


def test_statistics_need_no_teacher(tiny_corpus, tmp_path):
    options = {"normalize_conf": {}, "teacher_model_file": None}
    out = run(tiny_corpus, tmp_path, tmp_path, "--collect_stats", "true", **options)
    assert len((out / "train/speech_shape").read_text().splitlines()) == 8


def test_every_loss_trains(tiny_corpus, tmp_path, trained):
    text = tiny_corpus.config()
    data = {key: text[key] for key in text if key.endswith("_and_type")}
    conf = {
        "losses": {"mse": 1, "clip": 0.5, "mae": 0.1, "kl": 0.2, "asr": 1},
        "outputs": "logits",
        "clip": {"normalize": True, "learn_scale": True},
        "clean_teacher": True,
    }
    criterion = [["valid", "cer_device", "min"]]
    out = run(
        tiny_corpus, tmp_path, trained, model_conf=conf, max_epoch=2,
        best_model_criterion=criterion, **data,
    )  # fmt: skip
    states = torch.load(out / "2epoch.pth", weights_only=True)
    assert states["log_scale"] != torch.tensor(14.2857).log()
    stats = torch.load(out / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    for key in ("loss_mae", "loss_kl", "loss_asr", "loss_ctc"):
        assert f"{key}_device" in stats[2]["train"], key
    SupernetASRTask.build_model_from_file(model_file=out / "2epoch.pth")  # strictly


def test_text_that_is_given_is_not_needed(tiny_corpus, tmp_path, trained):
    """The recipe gives it to every training."""
    text = tiny_corpus.config()
    data = {key: text[key] for key in text if key.endswith("_and_type")}
    out = run(tiny_corpus, tmp_path, trained, max_epoch=1, use_preprocessor=True, **data)
    stats = torch.load(out / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    assert "loss_mse_server" in stats[1]["train"] and "loss_asr_server" not in stats[1]["train"]


def other_encoder(tiny_corpus, **changes):
    return {"encoder_conf": tiny_corpus.config()["encoder_conf"] | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_conf": {"losses": {"mse": 1.0, "klip": 1.0}}}, "unknown key 'klip'.*'clip'"),
        ({"model_conf": {"losses": {"asr": 1.0}}}, "nothing is learnt from the teacher"),
        ({"model_conf": {"losses": {"mse": -1}}}, "losses.mse: a number from 0"),
        ({"model_conf": {"output": "logits"}}, "model_conf: unknown key 'output'"),
        ({"model_conf": {"outputs": "softmax"}}, "outputs: write log_softmax or logits"),
        ({"model_conf": {"clip": {"scale": 0}}}, "clip.scale: above 0"),
        ({"model_conf": {"losses": {"mse": 1, "asr": 1}}}, "'text' is missing"),
        ({"model": "supernet"}, "encrl_train trains model encrl"),
        ({"teacher_model_file": None}, "teacher_model_file: not given"),
        ({"teacher_subnet": "phone"},
         r"ave.pth: teacher_subnet: .* no subnet 'phone'; choose one of server, device"),
        ({"token_list": ["<blank>", "<unk>", "A", "B", "D", "<space>", "<sos/eos>"]},
         "token_list: token 4 was 'C', is 'D'"),
        ({"frontend_conf": {"n_mels": 8, "n_fft": 1024}}, "frontend_conf.n_fft was"),
        ({"normalize": None, "normalize_conf": {}}, "normalize was global_mvn, is None"),
        ({"batch_size": 1}, "'train0' is alone in its batch"),
        ({"best_model_criterion": [["valid", "agreemnt_device", "max"]]}, "'agreement_device'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tiny_corpus, tmp_path, trained, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(tiny_corpus, tmp_path, trained, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_blocks": 3},
         r"student has 3 blocks, its teacher 2 \(.*ave.pth\): lower num_blocks, or choose"),
        ({"subsampling": "none"}, "a frame of the teacher has 4 features, one of the student 1"),
        ({"output_size": 8}, "output_size is 16 in the teacher and 8 in the student"),
    ],
)  # fmt: skip
def test_a_student_that_does_not_fit_is_refused(tiny_corpus, tmp_path, trained, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(tiny_corpus, tmp_path, trained, **other_encoder(tiny_corpus, **changes))


def test_statistics_of_other_data_are_refused(tiny_corpus, tmp_path, trained):
    import numpy as np

    np.savez(tmp_path / "other.npz", count=1, sum=np.ones(8), sum_square=np.full(8, 4.0))
    with pytest.raises(ConfigError, match="stats_file: mean differs from the teacher's"):
        run(
            tiny_corpus, tmp_path, trained,
            normalize_conf={"stats_file": str(tmp_path / "other.npz")},
        )  # fmt: skip


def test_a_teacher_without_a_ctc_head_is_refused(tiny_corpus, tmp_path, trained):
    transducer = {"predictor": "stateless", "predictor_conf": {"embed_size": 8}}
    conf = {"model_conf": {"ctc_weight": 0.0, "transducer": transducer}, "max_epoch": 1}
    config = tiny_corpus.write_config(tmp_path / "rnnt/train.yaml", **conf)
    asr_train.main(["--config", str(config), "--output_dir", str(tmp_path / "rnnt")])
    where = str(tmp_path / "rnnt/1epoch.pth")
    with pytest.raises(ConfigError, match=r"rnnt/1epoch.pth: .*no CTC head .* ctc_weight above 0"):
        run(tiny_corpus, tmp_path, trained, teacher_model_file=where)


def test_the_teacher_must_be_what_its_hash_says(tiny_corpus, tmp_path, trained):
    with pytest.raises(CheckpointError, match="not the file that teacher_sha256 names"):
        run(tiny_corpus, tmp_path, trained, teacher_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="nowhere.pth: no such file"):
        run(tiny_corpus, tmp_path, trained, teacher_model_file=str(tmp_path / "nowhere.pth"))


def test_a_resumed_training_refuses_another_teacher(tiny_corpus, tmp_path, trained):
    cmd = ("--resume", "true", "--max_epoch")
    run(tiny_corpus, tmp_path, trained, *cmd, "1")
    other = str(trained / "2epoch.pth") if (trained / "2epoch.pth").exists() else None
    other = other or str(next(trained.glob("[123]epoch.pth")))
    with pytest.raises(CheckpointError, match="teacher_sha256 was"):
        run(tiny_corpus, tmp_path, trained, *cmd, "2", teacher_model_file=other)
    run(tiny_corpus, tmp_path, trained, *cmd, "2")
    assert (tmp_path / "exp/2epoch.pth").exists()
