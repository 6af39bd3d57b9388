import json
import pickle

import pytest
import yaml

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.supernet.context import Context

DESIGN = """
subnets:
  server: {context: full}
  device: {context: {chunk_size: 16, left_context: 64}, mask: {pattern: {block: [16, 1]}, score: magnitude, sparsity: 0.7}}
schedule: {kind: cubic, begin: 0.1, end: 0.5, update_every: 500}
loss_weights: {server: 0.5, device: 0.5}
layer_norm: shared
distillation: {weight: 0.0}
"""  # noqa: E501

MANY = """
subnets:
  server:
  device: {context: [full, {chunk_size: [16, 8], left_context: 64}], mask: {pattern: {n_m: [2, 4]}}}
  watch: {context: {chunk_size: 4}, mask: device}
  phone: {mask: {pattern: {structured: [output, 4]}, sparsity: 0.3, exclude: [layers.0]}}
schedule: {kind: one_shot, begin: 100}
layer_norm: per_subnet
distillation: {weight: 0.2}
sampling: {seed: 3, always: [server], extra: 2}
sequential_backward: true
"""


@pytest.mark.parametrize("text", ["", "{}", DESIGN, MANY])
def test_round_trip(text):
    config = SupernetConfig.parse(yaml.safe_load(text))
    written = yaml.safe_load(yaml.safe_dump(config.to_dict(), sort_keys=False))
    assert SupernetConfig.parse(written) == config
    assert SupernetConfig.parse(json.loads(json.dumps(config.to_dict()))) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_the_table_of_the_design():
    config = SupernetConfig.parse(yaml.safe_load(DESIGN))
    device = config.subnets["device"]
    assert device.context == Context(16, 64) and device.mask_name == "device"
    assert device.mask.sparsity == 0.7
    assert config.subnets["server"].mask is None and config.distillation.teacher == "server"
    assert config.sampling.always == ("server", "device")


def test_masks_can_be_shared():
    subnets = SupernetConfig.parse(yaml.safe_load(MANY)).subnets
    assert subnets["watch"].mask_name == "device"
    assert subnets["watch"].mask == subnets["device"].mask


def test_empty_is_one_dense_subnet():
    config = SupernetConfig.parse(None)
    assert list(config.subnets) == ["server"] and config.loss_weights == {"server": 1.0}


BLOCK = {"pattern": {"block": [2, 1]}, "sparsity": 0.5}


@pytest.mark.parametrize(
    "spec, message",
    [
        ([], "supernet_conf: write a block"),
        ({"subnets": {}}, "at least one subnet"),
        ({"subnet": {}}, "did you mean 'subnets'"),
        ({"subnets": {"a-b": None}}, "'a-b': use letters"),
        ({"subnets": {"a": 5}}, "subnets.a: write a block"),
        ({"subnets": {"a": {"contxt": "full"}}}, "subnets.a: unknown key 'contxt'.*'context'"),
        ({"subnets": {"a": {"context": {"chunk": 1}}}}, "subnets.a.context: unknown key"),
        ({"subnets": {"a": {"mask": "b"}}}, "'b' is no subnet with a mask of its own"),
        ({"subnets": {"a": {"mask": {"sparsity": 1}}}}, "subnets.a.mask: pattern is missing"),
        ({"schedule": {"kinds": "cubic"}}, "did you mean 'kind'"),
        (
            {
                "subnets": {"server": None, "device": {"mask": {**BLOCK}}},
                "schedule": {"kind": "prune_and_grow", "growth": "zero"},
            },
            "schedule: growth: zero changes weights .*subnets without this mask read them",
        ),
        (
            {
                "subnets": {"server": None, "device": {"mask": {**BLOCK}}},
                "schedule": {"kind": "constant", "adjust": "dense"},
            },
            "give all subnets one mask, or write adjust: masked",
        ),
        (
            {
                "subnets": {"server": None, "device": {"mask": {**BLOCK}}},
                "schedule": {"kind": "l0"},
            },
            "kind: l0 changes weights .*give all subnets one mask, or choose another",
        ),
        ({"loss_weights": {"sever": 1}}, "did you mean 'server'"),
        ({"loss_weights": {}}, "weight of subnet 'server' is missing"),
        ({"loss_weights": {"server": 0}}, "above 0"),
        ({"loss_weights": {"server": float("nan")}}, "above 0"),
        ({"loss_weights": 1}, "write {subnet: weight}"),
        ({"layer_norm": "private"}, "shared or per_subnet"),
        ({"distillation": {"wait": 1}}, "did you mean 'weight'"),
        ({"distillation": {"weight": -1}}, "a number from 0"),
        ({"distillation": {"teacher": "x"}}, "no subnet 'x'"),
        ({"distillation": 0.5}, "write {weight"),
        ({"sampling": {"sed": 1}}, "did you mean 'seed'"),
        ({"sequential_backward": 1}, "true or false"),
    ],
)
def test_refuses(spec, message):
    with pytest.raises(ConfigError, match=message):
        SupernetConfig.parse(spec)


def test_the_teacher_is_always_there():
    table = {"server": None, "device": None}
    with pytest.raises(ConfigError, match="list it in sampling.always"):
        SupernetConfig.parse(
            {
                "subnets": table,
                "sampling": {"always": ["device"], "extra": 1},
                "distillation": {"weight": 1.0, "teacher": "server"},
            }
        )
