"""A random model on disk for the commands that decode, and a trained detector of SALAD."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tiny_models import prune_half


@pytest.fixture(scope="session")
def random_model(tiny_corpus, tmp_path_factory) -> Path:
    """Return an experiment folder with ``config.yaml`` and ``valid.loss.ave.pth``, untrained."""
    import torch

    from espnet2_supernet.tasks.asr import SupernetASRTask

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("random") / "asr_tiny"
    folder.mkdir()
    config = tiny_corpus.write_config(folder / "train.yaml")
    args = SupernetASRTask.get_parser().parse_args(
        ["--config", str(config), "--output_dir", str(folder)]
    )
    model = SupernetASRTask.build_model(args)
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(10.0)
        prune_half(model)
    (folder / "config.yaml").write_text(yaml.safe_dump(_plain(vars(args)), sort_keys=False))
    torch.save(model.state_dict(), folder / "valid.loss.ave.pth")
    return folder


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@pytest.fixture
def decode(random_model):
    """Decode with :func:`random_model`; ``scp`` lists the sounds."""
    from espnet2_supernet.bin import asr_inference

    def run(*options, scp=None):
        data = [] if scp is None else ["--data_path_and_name_and_type", f"{scp},speech,sound"]
        model = ["--asr_model_file", random_model / "valid.loss.ave.pth"]
        asr_inference.main([str(word) for word in (*model, *data, *options)])

    return run


@pytest.fixture
def corpus(tiny_corpus, tmp_path):
    """Copy the tiny training set, so that a test may spoil it; return its wav.scp."""
    folder = tmp_path / "set"
    shutil.copytree(tiny_corpus.root / "train", folder)
    names = sorted(path.stem for path in folder.glob("*.wav"))
    scp = folder / "wav.scp"
    scp.write_text("".join(f"{name} {folder / name}.wav\n" for name in reversed(names)))
    return scp


@pytest.fixture(scope="session")
def salad_teacher(trained, tmp_path_factory) -> Path:
    """Weights of a recogniser whose CTC head does not say blank everywhere."""
    import torch

    root = tmp_path_factory.mktemp("teacher")
    states = torch.load(trained / "valid.loss.ave.pth", weights_only=True)
    generator = torch.Generator().manual_seed(0)
    shape = states["ctc.ctc_lo.weight"].shape
    states["ctc.ctc_lo.weight"] = 20 * torch.randn(shape, generator=generator)
    shutil.copy(trained / "config.yaml", root)
    torch.save(states, root / "asr.pth")
    return root / "asr.pth"


@pytest.fixture(scope="session")
def salad_labels(salad_teacher, tiny_corpus) -> Path:
    """A folder with the teacher's labels of each set."""
    from espnet2_supernet.bin import salad_labels

    folder = salad_teacher.parent / "labels"
    for name in ("train", "valid"):
        wav = tiny_corpus.root / name / "wav.scp"
        salad_labels.main(
            ["--asr_model_file", str(salad_teacher), "--wav_scp", str(wav),
             "--output_dir", str(folder / name)]
        )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def train_detector(tiny_corpus, salad_labels):
    """Train a detector: ``(output_dir, labels, **changes)``; ``asr.pth`` is beside the labels."""
    from espnet2_supernet.bin import salad_train

    def train(out, labels=salad_labels, **changes):
        model = labels.parent / "asr.pth"
        path = out.parent / f"{out.name}.yaml"
        config = tiny_corpus.write_salad_config(path, labels, model, **changes)
        salad_train.main(["--config", str(config), "--output_dir", str(out)])
        return out

    return train


@pytest.fixture(scope="session")
def detector(train_detector, salad_labels) -> Path:
    """The folder of a finished training of a detector, of 4 epochs."""
    return train_detector(salad_labels.parent / "salad")
