import argparse

import pytest
import torch
from espnet2.tasks.asr import ASRTask
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from espnet2.train.distributed_utils import DistributedOption

from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks.asr import SupernetASRTask


def options(tiny_corpus, tmp_path, *more, **changes) -> argparse.Namespace:
    config = tiny_corpus.write_config(tmp_path / "train.yaml", **changes)
    cmd = ["--config", str(config), "--output_dir", str(tmp_path / "exp"), *more]
    return SupernetASRTask.get_parser().parse_args(cmd)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_conf": {"num_block": 2}}, "encoder_conf: unknown key 'num_block'.*num_blocks"),
        ({"encoder_conf": {"input_size": 2}}, "encoder_conf: unknown key 'input_size'"),
        ({"frontend_conf": {"n_mel": 8}}, "frontend_conf: unknown key 'n_mel'.*n_mels"),
        ({"model_conf": {"ctc_wieght": 1}}, "model_conf: unknown key 'ctc_wieght'.*ctc_weight"),
        ({"supernet_conf": {"subnet": {}}}, "supernet_conf: unknown key 'subnet'.*subnets"),
        ({"specaug": "specaug", "specaug_conf": {"time_wrap": 1}}, "specaug_conf: unknown key"),
        ({"normalize_conf": {"stats": "x"}}, "stats_file: not given"),
        ({"normalize_conf": {"stats_file": "no.npz"}}, "no.npz: no such file.*collect_stats"),
        ({"normalize": "utterance_mvn", "normalize_conf": {}}, "'device' is streaming"),
        ({"encoder": "supernet_conforme"}, "encoder: unknown key.*supernet_conformer"),
        ({"encoder_conf": [1]}, "encoder_conf: must be a mapping"),
        ({"token_list": ["a", "b", "c"]}, "token_list: must start with <blank>"),
        ({"token_list": "no.txt"}, "token_list: no.txt: no such file"),
        ({"token_list": ["<blank>", "a", "a", "<sos/eos>"]}, "'a' is listed twice"),
    ],
)
def test_a_mistake_is_named(tiny_corpus, tmp_path, changes, message):
    args = options(tiny_corpus, tmp_path, **changes)
    with pytest.raises(ConfigError, match=message):
        SupernetASRTask.build_model(args)


def test_unknown_optimizer_option_is_named(tiny_corpus, tmp_path):
    args = options(tiny_corpus, tmp_path, optim_conf={"learning_rate": 1})
    model = SupernetASRTask.build_model(args)
    with pytest.raises(ConfigError, match="optim_conf: unknown key 'learning_rate'"):
        SupernetASRTask.build_optimizers(args, model)


def test_the_table_can_be_changed_on_the_command_line(tiny_corpus, tmp_path):
    args = options(
        tiny_corpus, tmp_path, "--supernet_conf", "loss_weights={server: 0.2, device: 0.8}"
    )
    model = SupernetASRTask.build_model(args)
    assert model.supernet_config.loss_weights == {"server": 0.2, "device": 0.8}
    assert list(model.supernet.subnets) == ["server", "device"]


def test_both_copies_of_the_table_must_agree(tiny_corpus, tmp_path):
    args = options(tiny_corpus, tmp_path)
    SupernetASRTask.build_model(args)
    assert args.model_conf["supernet_conf"] == args.supernet_conf
    SupernetASRTask.build_model(args)  # as from config.yaml: both present and equal
    args.supernet_conf = {}
    SupernetASRTask.build_model(args)  # only the copy
    assert list(args.supernet_conf["subnets"]) == ["server", "device"]
    args.supernet_conf = {"subnets": {"server": {"context": "full"}}}
    with pytest.raises(ConfigError, match=r"supernet_conf and model_conf\.supernet_conf differ"):
        SupernetASRTask.build_model(args)


def test_the_stock_task_rebuilds_the_same_model(trained):
    model, _ = ASRTask.build_model_from_file(trained / "config.yaml", trained / "4epoch.pth")
    ours, _ = SupernetASRTask.build_model_from_file(trained / "config.yaml", trained / "4epoch.pth")
    assert model.state_dict().keys() == ours.state_dict().keys()
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in model.state_dict().items())
    with pytest.raises(ConfigError, match="has no subnets"):
        args = argparse.Namespace(model="espnet", supernet_conf={"subnets": {}})
        SupernetASRTask.build_model(args)


def test_the_pruner_follows_the_optimizer(tiny_corpus, tmp_path):
    args = options(tiny_corpus, tmp_path)
    model = SupernetASRTask.build_model(args)
    optimizer = SupernetASRTask.build_optimizers(args, model)[0]
    model.pruner.set_total_steps(10)
    optimizer.step()
    assert int(model.pruner.step) == 1


def test_a_dense_table_needs_no_pruner(tiny_corpus, tmp_path):
    args = options(tiny_corpus, tmp_path, supernet_conf={})
    model = SupernetASRTask.build_model(args)
    SupernetASRTask.build_optimizers(args, model)
    assert model.pruner is None and list(model.supernet.subnets) == ["server"]


def test_random_augmentation_is_the_same_in_the_same_epoch(tiny_corpus, tmp_path):
    effects = {"fs": 16000, "data_aug_effects": [[1.0, "clipping", {}]], "data_aug_prob": 0.5}
    args = options(tiny_corpus, tmp_path, preprocessor_conf=effects, num_workers=2)
    SupernetASRTask.build_model(args)  # reads token_list
    factory = SupernetASRTask.build_iter_factory(args, DistributedOption(), mode="train")

    def epoch(number: int) -> torch.Tensor:
        set_all_random_seed(args.seed + number)  # as the trainer does
        return torch.cat([b["speech"].flatten() for _, b in factory.build_iter(number)])

    third = epoch(3)
    torch.rand(3)
    assert torch.equal(third, epoch(3))
    fourth = epoch(4)
    assert third.shape != fourth.shape or not torch.equal(third, fourth)


def test_weights_of_another_configuration_are_refused(trained, tmp_path):
    states = torch.load(trained / "4epoch.pth", weights_only=True)
    key = next(key for key, value in states.items() if value.dtype == torch.bool)

    def load(changed):
        torch.save(changed, tmp_path / "changed.pth")
        SupernetASRTask.build_model_from_file(trained / "config.yaml", tmp_path / "changed.pth")

    with pytest.raises(CheckpointError, match="1 missing keys"):
        load({k: v for k, v in states.items() if k != key})
    with pytest.raises(CheckpointError, match="damaged by an average"):
        load({**states, key: states[key] / 2})
    torn = states[key].clone()
    torn[0, torn[:4].all(0)] = False  # one row of a 4 x 1 block
    with pytest.raises(CheckpointError, match="pattern block 4x1"):
        load({**states, key: torn})
