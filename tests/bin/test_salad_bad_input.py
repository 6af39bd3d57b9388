"""What the training of SALAD's detector refuses: configurations, labels, checkpoints."""

import json
import shutil

import numpy as np
import pytest
import torch

from espnet2_supernet.bin import salad_threshold
from espnet2_supernet.damon.labels import LabelInfo, write_labels
from espnet2_supernet.errors import CheckpointError, ConfigError, DataError

torch.set_num_threads(1)


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
def test_bad_configurations(tmp_path, changes, error, message, train_detector):
    with pytest.raises(error, match=message):
        train_detector(tmp_path / "exp", **changes)
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


def test_labels_of_other_tokens_are_refused(salad_labels, tmp_path, train_detector):
    other = relabelled(salad_labels, tmp_path, lambda x: x, tokens=("<blank>", "X", "<sos/eos>"))
    with pytest.raises(ConfigError, match="labels are of another token list"):
        train_detector(tmp_path / "exp", other)


def test_labels_of_other_frames_name_the_utterance(salad_labels, tmp_path, train_detector):
    other = relabelled(salad_labels, tmp_path, lambda x: np.repeat(x, 2))
    with pytest.raises(DataError, match=r"utterance 'train\d': \d+ labels for \d+ frames"):
        train_detector(tmp_path / "exp", other)


def choose(detector, labels, wav_scp, out):
    salad_threshold.main(
        ["--salad_model_file", str(detector / "valid.loss.ave.pth"), "--output_dir", str(out),
         "--wav_scp", str(wav_scp), "--labels", str(labels / "valid" / "labels.scp"),
         "--keep_ratio", "0.5"]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["labels.ark", "labels.scp"])
def test_labels_that_are_gone_are_named(
    salad_labels, tmp_path, train_detector, detector, tiny_corpus, name
):
    other = relabelled(salad_labels, tmp_path, lambda x: x)
    (other / "valid" / name).unlink()
    message = f"valid/{name}: no such file.* anew with salad_labels"
    with pytest.raises(DataError, match=message):
        train_detector(tmp_path / "exp", other)
    with pytest.raises(DataError, match=message):
        choose(detector, other, tiny_corpus.root / "valid" / "wav.scp", tmp_path / "out")


def test_an_utterance_without_labels_is_named(salad_labels, tmp_path, detector, tiny_corpus):
    scp = tiny_corpus.root / "train" / "wav.scp"
    with pytest.raises(DataError, match="no labels of utterance 'train0' of .* with salad_labels"):
        choose(detector, salad_labels, scp, tmp_path / "out")


def test_another_recogniser_cannot_be_resumed(detector, tmp_path, train_detector):
    shutil.copytree(detector, tmp_path / "exp")
    with pytest.raises(CheckpointError, match="model_conf.first_n"):
        train_detector(tmp_path / "exp", resume=True, max_epoch=5,
                       model_conf={"channels": 8, "kernel_size": 3, "first_n": 2})  # fmt: skip
