import shutil

import pytest
import torch
import yaml

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.loading import find_file, read_config


@pytest.fixture
def moved(trained, tmp_path, monkeypatch):
    """A model whose configuration names its statistics relative to the recipe's folder."""
    folder = tmp_path / "recipe/exp/asr"
    folder.mkdir(parents=True)
    config = yaml.safe_load((trained / "config.yaml").read_text())
    shutil.copy(config["normalize_conf"]["stats_file"], tmp_path / "recipe/stats.npz")
    config["normalize_conf"]["stats_file"] = "stats.npz"
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    shutil.copy(trained / "4epoch.pth", folder / "4epoch.pth")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


def test_a_model_loads_from_any_folder(moved):
    model, args = SupernetASRTask.build_model_from_file(None, moved / "4epoch.pth")
    assert args.normalize_conf["stats_file"].endswith("recipe/stats.npz")
    assert model.normalize.std.tolist() == pytest.approx([2.0] * 8)


def test_lost_statistics_are_restored_from_the_weights(moved):
    (moved.parents[1] / "stats.npz").unlink()
    states = torch.load(moved / "4epoch.pth", weights_only=True)
    model, _ = SupernetASRTask.build_model_from_file(moved / "config.yaml", moved / "4epoch.pth")
    for key, value in model.state_dict().items():
        assert torch.equal(value, states[key]) and value.dtype == states[key].dtype, key
    with pytest.raises(CheckpointError, match=r"stats\.npz: no such file"):
        SupernetASRTask.build_model_from_file(moved / "config.yaml")


def test_a_bad_configuration_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot read"):
        read_config(None, tmp_path / "model.pth")
    path.write_text("a: [1")
    with pytest.raises(ConfigError, match=r"config\.yaml: not YAML"):
        read_config(path, None)
    path.write_text("a: 1")
    with pytest.raises(ConfigError, match="not a config.yaml of a trained model"):
        read_config(path, None)
    with pytest.raises(ConfigError, match="give a config"):
        read_config(None, None)


def test_files_are_searched_up_from_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = tmp_path / "exp/asr/config.yaml"
    config.parent.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bpe.model").touch()
    assert find_file("data/bpe.model", config) == str((tmp_path / "data/bpe.model").resolve())
    assert find_file("data/none", config) == "data/none" and find_file(None, config) is None
