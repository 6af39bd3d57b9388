"""Mistakes in a training configuration that ESPnet would tell late or with a traceback."""

import pytest

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks import validation
from espnet2_supernet.tasks.asr import SupernetASRTask


def options(tiny_corpus, tmp_path, **changes):
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **changes)
    cmd = ["--config", str(config), "--output_dir", str(tmp_path / "exp")]
    return SupernetASRTask.get_parser().parse_args(cmd)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim": "adamm"}, "optim: unknown key 'adamm'; did you mean 'adam"),
        ({"scheduler": "warmup"}, "scheduler: unknown key 'warmup'; did you mean 'warmup"),
        (
            {"scheduler": "warmuplr", "scheduler_conf": {"warmup": 1}},
            "scheduler_conf: unknown key 'warmup'; did you mean 'warmup_steps'",
        ),
        ({"batch_type": "unsortedd"}, "batch_type: unknown key.*did you mean 'unsorted'"),
        (
            {"best_model_criterion": [["valid", "cer_devise", "min"]]},
            "best_model_criterion: unknown key 'cer_devise'; did you mean 'cer_device'",
        ),
        ({"batch_size": 0}, "batch_size: a whole number of at least 1"),
        ({"max_epoch": 0}, "max_epoch: a whole number of at least 1"),
        ({"accum_grad": 0}, "accum_grad: a whole number of at least 1"),
        ({"token_type": "bpe"}, "bpemodel: None: no such file"),
        ({"token_type": "bpe", "bpemodel": "no.model"}, "bpemodel: no.model: no such file"),
    ],
)
def test_a_wrong_option_is_named(tiny_corpus, tmp_path, changes, message):
    args = options(tiny_corpus, tmp_path, **changes)
    with pytest.raises(ConfigError, match=message):
        validation.check_options(args, SupernetASRTask.statistics)


def test_a_gpu_that_is_not_there(tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="ngpu: 1, but this machine has no usable GPU"):
        validation.check_options(options(tiny_corpus, tmp_path, ngpu=1), ())


def test_initial_weights_must_be_readable(tiny_corpus, tmp_path):
    with pytest.raises(CheckpointError, match="no.pth: no such model file"):
        validation.check_options(options(tiny_corpus, tmp_path, init_param=["no.pth:encoder"]), ())
    (tmp_path / "half.pth").write_bytes(b"PK half")
    half = options(tiny_corpus, tmp_path, init_param=[str(tmp_path / "half.pth")])
    with pytest.raises(CheckpointError, match="half.pth: not a readable model file"):
        validation.check_options(half, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ctc_conf": {"dropout": 1}}, "ctc_conf: unknown key 'dropout'.*dropout_rate"),
        ({"ctc_conf": {"odim": 1}}, "ctc_conf: unknown key 'odim'"),
        ({"preprocessor_conf": {"fss": 8000}}, "preprocessor_conf: unknown key 'fss'.*'fs'"),
        ({"preprocessor_conf": {"token_type": "char"}}, "unknown key 'token_type'"),
        ({"encoder_conf": {"num_blocks": "two"}}, "the model cannot be built.*encoder_conf"),
    ],
)
def test_blocks_of_espnet_are_checked(tiny_corpus, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        SupernetASRTask.build_model(options(tiny_corpus, tmp_path, **changes))


def test_damaged_files_of_the_configuration(tiny_corpus, tmp_path):
    (tmp_path / "tokens.txt").write_bytes(b"\xff\xfe\n")
    args = options(tiny_corpus, tmp_path, token_list=str(tmp_path / "tokens.txt"))
    with pytest.raises(ConfigError, match="tokens.txt: not UTF-8 text"):
        validation.check_token_list(args)
    (tmp_path / "stats.npz").write_bytes(b"")
    args = options(
        tiny_corpus, tmp_path, normalize_conf={"stats_file": str(tmp_path / "stats.npz")}
    )
    with pytest.raises(ConfigError, match="the model cannot be built.*stats_file"):
        SupernetASRTask.build_model(args)
