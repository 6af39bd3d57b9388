"""The presets of EncRL have the paper's sizes, but for one norm at the end."""

import argparse
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
# Table 1 of arXiv 2505.16991, recomputed from the code's layers
PAPER = {12: 18_600_192, 6: 9_462_528, 4: 6_416_640, 2: 3_370_752}
FINAL_NORM = 2 * 256  # of our encoder; the paper's ends with its last block
TOKENS = ["<blank>", "<unk>", *map(str, range(253)), "<sos/eos>"]


RECIPES = sorted(CONF.parent.glob("egs/*/light1/conf/**/train*.yaml"))


# 12, 6, 4 and 2 blocks of 144/576 with 30 characters, as the table of egs/an4/light1 has them
AN4 = {12: "5.90", 6: "3.00", 4: "2.04", 2: "1.07"}


def build(name: str, num_blocks: int | None = None, tokens: list[str] = TOKENS):
    from espnet2_supernet.tasks.asr import SupernetASRTask
    from espnet2_supernet.tasks.encrl import SupernetEncRLTask

    given = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    task = SupernetEncRLTask if "encrl" in name else SupernetASRTask
    default = task.get_default_config()
    assert set(given) <= set(default)
    if num_blocks is not None:
        given["encoder_conf"]["num_blocks"] = num_blocks
    args = default | given | {"token_list": tokens, "normalize": None}
    return SupernetASRTask.build_model(argparse.Namespace(**args))


@pytest.mark.parametrize(
    ("name", "num_blocks"),
    [("train_light", None), ("train_light_encrl", None),
     ("train_light_finetune", None), ("train_light_finetune", 4), ("train_light_finetune", 2)],
)  # fmt: skip
def test_parameters_are_the_papers(name, num_blocks):
    model = build(name, num_blocks)
    blocks = len(model.encoder.blocks)
    assert blocks == (num_blocks or {"train_light": 12}.get(name, 6))
    assert model.supernet.counts("server", model)["parameters"] == PAPER[blocks] + FINAL_NORM
    assert sum(p.numel() for p in model.encoder.norm.parameters()) == FINAL_NORM


@pytest.mark.parametrize("name", ["train", "train_encrl", "train_finetune"])
def test_parameters_of_an4_are_those_of_its_table(name):
    given = f"../egs/an4/light1/conf/{name}"
    default = {"train": 12}.get(name, 6)
    for blocks in (None, 12, 6, 4, 2):
        model = build(given, blocks, TOKENS[:29] + TOKENS[-1:])
        size = model.supernet.counts("server", model)["parameters"]
        assert f"{size / 1e6:.2f}" == AN4[blocks or default]
    row = "|parameters|" + "|".join(f"{size} M" for size in AN4.values()) + "||"
    assert row in (CONF.parent / "egs/an4/light1/README.md").read_text().splitlines()


def test_exits_have_the_sizes_of_models_of_their_own():
    from espnet2_supernet.train.monitor import count_weights

    model = build("train_light_early_exit")
    for name, blocks in (("server", 12), ("half", 6), ("third", 4), ("sixth", 2)):
        assert count_weights(model, name)["parameters"] == PAPER[blocks] + FINAL_NORM
    head = 256 * 256 + 256
    size = sum(p.numel() for p in model.parameters())
    assert size == PAPER[12] + FINAL_NORM + 3 * (head + FINAL_NORM)


def test_what_is_printed_in_the_paper():
    assert [round(size / 1e6, 3) for size in PAPER.values()] == [18.600, 9.463, 6.417, 3.371]


def test_the_three_steps_fit_each_other():
    steps = [
        yaml.safe_load((CONF / f"{name}.yaml").read_text())
        for name in ("train_light", "train_light_encrl", "train_light_finetune")
    ]
    for step in steps:
        step["encoder_conf"].pop("num_blocks")
    for key in ("frontend", "frontend_conf", "normalize", "encoder", "encoder_conf"):
        assert steps[0][key] == steps[1][key] == steps[2][key], key
    epochs = [step["max_epoch"] for step in steps]
    assert epochs == [150, 100, 50], "Z, 2Z/3 and Z/3"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-5:]))
def test_recipe_configurations_build_and_their_schedules_end(path):
    from espnet2_supernet.tasks.asr import SupernetASRTask

    given = yaml.safe_load(path.read_text())
    args = SupernetASRTask.get_default_config() | given
    args |= {"token_list": TOKENS[:30] + TOKENS[-1:], "normalize": None}
    SupernetASRTask.build_model(argparse.Namespace(**args))
    if given["scheduler"] == "onecyclelr":
        updates = given["max_epoch"] * given["num_iters_per_epoch"]
        assert given["scheduler_conf"]["total_steps"] == updates


@pytest.mark.parametrize("corpus", ["an4", "librispeech"])
def test_baselines_have_the_updates_of_both_steps_together(corpus):
    folder = CONF.parent / f"egs/{corpus}/light1/conf"
    steps = {p.stem: yaml.safe_load(p.read_text()) for p in folder.rglob("train*.yaml")}
    epochs = {name: step["max_epoch"] for name, step in steps.items()}
    both = epochs["train_encrl"] + epochs["train_finetune"]
    for name in ("train", "train_kd", "train_joint", "train_early_exit", "train_layer_drop"):
        assert epochs[name] == both, name
