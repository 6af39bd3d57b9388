"""light.sh: which trainings it makes of which, through the stages of the corpus's recipe."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "egs/TEMPLATE"
RECIPES = sorted((ROOT / "egs").glob("*/light1/run.sh"))
SIZES = ("--sizes", "2 1", "--student_blocks", "3")


@pytest.fixture
def light(recipe, supernet, run_fake):
    """Run light.sh over the prepared data of mini_speech; give back process and commands."""
    statistics, _ = supernet("--nj", "2", "--stage", "8", "--stop_stage", "8")
    assert statistics.returncode == 0, statistics.stderr

    def run_light(*options):
        given = ("--recipe", "../../mini_speech/supernet1", *options)
        rest = ("--recipe_args", "--use_ssl false --nj 2 --inference_nj 1")
        return run_fake("./light.sh", *given, *rest, cwd=recipe.parents[1] / "an4/light1")

    return run_light


def value(command, option):
    return re.search(rf"--{option}[ =](\S+)", command)[1]


def test_the_large_model_teaches_once_and_every_size_starts_from_the_student(light):
    light("--stage", "2", "--stop_stage", "2", *SIZES)
    done, commands = light("--stage", "3", "--stop_stage", "4", *SIZES)
    assert done.returncode == 0, done.stderr
    (student,) = commands.of("encrl_train")
    assert value(student, "teacher_model_file") == "exp/asr_light_large/valid.loss.ave.pth"
    assert value(student, "output_dir") == "exp/asr_light_encrl3"
    assert "num_blocks=3" in student and "train_encrl.yaml" in student
    tuned = commands.of("asr_train")
    assert [value(one, "output_dir") for one in tuned] == [
        "exp/asr_light_encrl3_2", "exp/asr_light_encrl3_1"
    ]  # fmt: skip
    for one, size in zip(tuned, (2, 1), strict=True):
        assert f"num_blocks={size}" in one and "--init_blocks last" in one
        assert value(one, "init_model_file") == "exp/asr_light_encrl3/valid.loss.ave.pth"
    _, commands = light("--stage", "2", "--stop_stage", "4", *SIZES)
    assert commands == [], "up to date"


def test_the_student_can_start_from_its_teacher(light):
    light("--stage", "2", "--stop_stage", "2", *SIZES)
    options = ("--stage", "3", "--stop_stage", "4", *SIZES, "--student_init", "spread")
    done, commands = light(*options)
    assert done.returncode == 0, done.stderr
    (student,) = commands.of("encrl_train")
    assert value(student, "init_model_file") == "exp/asr_light_large/valid.loss.ave.pth"
    assert value(student, "init_blocks") == "spread"
    assert value(student, "output_dir") == "exp/asr_light_encrl3_spread"
    tuned = commands.of("asr_train")[0]
    assert value(tuned, "init_model_file") == "exp/asr_light_encrl3_spread/valid.loss.ave.pth"
    assert value(tuned, "output_dir") == "exp/asr_light_encrl3_spread_2"


def test_the_student_can_learn_from_a_folder_without_text(light, tmp_path):
    (tmp_path / "radio").mkdir()
    (tmp_path / "radio/wav.scp").write_text("a x\nb x\n")
    light("--stage", "2", "--stop_stage", "2", *SIZES)
    options = ("--stage", "3", "--stop_stage", "4", *SIZES, "--encrl_train_dir", tmp_path / "radio")
    done, commands = light(*options)
    assert done.returncode == 0, done.stderr
    statistics, student = commands.of("encrl_train")
    for one in (statistics, student):
        assert f"{tmp_path}/radio/wav.scp,speech,sound" in one
        assert "dump/raw/dev/wav.scp,speech,sound" in one and "/text" not in one
    assert "--collect_stats true" in statistics
    assert value(student, "output_dir") == "exp/asr_light_encrl3_radio"
    shapes = re.findall(r"_shape_file (\S+)", student)
    assert shapes == [
        f"exp/asr_stats_raw_en_char_encrl_radio/{part}/speech_shape" for part in ("train", "valid")
    ]
    assert student.count("--fold_length") == 1
    assert "stats_file=exp/asr_stats_raw_en_char/train" in student, "normalised as the teacher"
    tuned = commands.of("asr_train")[0]
    assert "text_shape" in tuned and value(tuned, "output_dir") == "exp/asr_light_encrl3_radio_2"
    _, commands = light(*options)
    assert commands == [], "up to date"
    (tmp_path / "radio/wav.scp").unlink()
    done, _ = light(*options)
    assert done.returncode == 1 and "radio/wav.scp is missing" in done.stderr


def test_a_new_teacher_makes_a_new_student(light, recipe):
    light("--stage", "2", "--stop_stage", "4", *SIZES)
    (recipe / "exp/asr_light_large/valid.loss.ave.pth").touch()
    _, commands = light("--stage", "2", "--stop_stage", "4", *SIZES)
    assert len(commands.of("encrl_train")) == 1
    assert len(commands.of("asr_train")) == 2, "and what starts from it"
    kept = {path.name.split(".old.")[0] for path in (recipe / "exp").glob("*.old.*")}
    assert kept == {f"asr_light_encrl3{size}" for size in ("", "_2", "_1")}, "none is resumed"


def test_an_experiment_of_the_recipe_can_be_the_large_model(light, recipe):
    own = (*SIZES, "--large_exp", "exp/asr_own")
    done, commands = light("--stage", "2", "--stop_stage", "2", *own)
    assert done.returncode == 0 and commands == [], "nothing to train"
    done, _ = light("--stage", "3", "--stop_stage", "3", *own)
    assert done.returncode == 1 and "exp/asr_own/valid.*.ave.pth is missing" in done.stderr
    light("--stage", "2", "--stop_stage", "2", *SIZES)
    (recipe / "exp/asr_light_large").rename(recipe / "exp/asr_own")
    options = ("--stage", "2", "--stop_stage", "8", *own, "--baselines", "teacher_init")
    done, commands = light(*options)
    assert done.returncode == 0, done.stderr
    (student,) = commands.of("encrl_train")
    assert value(student, "teacher_model_file") == "exp/asr_own/valid.loss.ave.pth"
    (measured,) = commands.of("latency")
    assert "exp/asr_own/extracted_" in measured and "asr_light_large" not in measured
    assert "exp/asr_own " in commands.of("report")[-1]


def test_every_baseline_is_trained_decoded_and_in_the_table(light):
    names = "scratch teacher_init kd joint early_exit layer_drop"
    options = (*SIZES, "--baselines", names)
    light("--stage", "2", "--stop_stage", "4", *SIZES)
    done, commands = light("--stage", "5", "--stop_stage", "5", *options)
    assert done.returncode == 0, done.stderr
    assert len(commands.of("asr_train")) == 2 + 2 + 2, "of two sizes; one model for all"
    copied = commands.of("encrl_train")
    assert len(copied) == 4 and all("--teacher_model_file exp/asr_light_large" in c for c in copied)
    done, commands = light("--stage", "6", "--stop_stage", "8", *options)
    assert done.returncode == 0, done.stderr
    models = 1 + 1 + 2 + 4 * 2 + 2
    (measured,) = commands.of("latency")
    assert measured.count("/extracted_") == 2 * models, "all models in turns"
    assert value(measured, "output_dir") == "exp/latency_light"
    assert len(commands.of("asr_inference")) == 2 * models, "the fake model has two subnets"
    (cost,) = commands.of("training_cost")
    table = commands.of("report")[-1]
    for command in (cost, table):
        assert command.count("exp/asr_light_") == models
    assert "exp/RESULTS_light.md" in table and "latency_light/latency.json" in table


def test_sizes_that_one_model_does_not_have_are_told(light):
    stage = ("--stage", "5", "--stop_stage", "5", "--baselines", "early_exit")
    done, _ = light(*stage, *SIZES)
    assert 'train_early_exit.yaml has rows of 6 4 2 blocks, not of --sizes "2 1"' in done.stdout
    done, _ = light(*stage, "--sizes", "2 4 6", "--tag", "all")
    assert done.returncode == 0 and "has rows of" not in done.stdout


def test_baselines_without_a_teacher_need_no_large_model(light):
    alone = ("--stage", "5", "--stop_stage", "5", *SIZES, "--baselines")
    done, commands = light(*alone, "scratch early_exit layer_drop")
    assert done.returncode == 0, done.stderr
    assert len(commands.of("asr_train")) == 2 + 1 + 1
    for name in ("teacher_init", "kd", "joint"):
        done, commands = light(*alone, name)
        assert done.returncode == 1 and commands == []
        assert "asr_light_large/valid.*.ave.pth is missing" in done.stderr


def test_the_table_has_what_is_trained_and_other_experiments(light, recipe):
    light("--stage", "2", "--stop_stage", "3", *SIZES)
    (recipe / "exp/asr_light_large").rename(recipe / "exp/asr_other")
    more = ("--more_exps", "exp/asr_other exp/asr_none")
    done, commands = light("--stage", "6", "--stop_stage", "8", *SIZES, *more)
    assert done.returncode == 0, done.stderr
    for name in ("light_large", "light_encrl3_2", "light_encrl3_1", "none"):
        assert f"not trained, left out: ../../mini_speech/supernet1/exp/asr_{name}\n" in done.stdout
    (measured,) = commands.of("latency")
    assert measured.count("/extracted_") == 2 * 2
    assert "exp/asr_light_encrl3 " in (table := commands.of("report")[-1])
    assert "supernet1/exp/asr_other " in table
    decoded = {value(one, "asr_model_file") for one in commands.of("asr_inference")}
    assert decoded == {f"exp/asr_{e}/valid.loss.ave.pth" for e in ("light_encrl3", "other")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sizes", "7"), "7 blocks of a student of 6"),
        (("--sizes", "two"), "'two' is no number of blocks"),
        (("--baselines", "skratch"), "'skratch' is not one of: scratch"),
        (("--student_init", "all"), "--student_init must be random, last, first or spread"),
        (("--init_blocks", "middle"), "--init_blocks must be last, first or spread"),
        (("--recipe", "../nothing"), "no run.sh there"),
        (("--size", "6"), "did you mean '--sizes'"),
    ],
)
def test_mistakes_are_named(light, options, message):
    done, commands = light(*options)
    assert done.returncode == 2 and message in done.stderr and commands == []


def test_a_missing_stage_is_named(light):
    done, _ = light("--stage", "3", "--stop_stage", "3")
    assert done.returncode == 1 and "asr_light_large/valid.*.ave.pth is missing" in done.stderr
    done, commands = light("--stage", "7", "--stop_stage", "7")
    assert done.returncode == 1 and "run stages 2 to 5 first" in done.stderr and not commands


@pytest.mark.parametrize("script", RECIPES, ids=lambda path: path.parts[-3])
def test_a_recipe_is_thin(script):
    folder = script.parent
    assert script.stat().st_mode & stat.S_IXUSR and len(script.read_text().splitlines()) <= 20
    targets = {"light.sh": "light1", "scripts": "supernet1", "path.sh": "supernet1"}
    for name, template in targets.items():
        assert (folder / name).resolve() == TEMPLATES / template / name
    assert '"$@"' in script.read_text() and (folder.parent / "supernet1/run.sh").is_file()
    assert "## Results" in (folder / "README.md").read_text()
    for name in ("train", "train_encrl", "train_finetune", "tuning/train_kd", "tuning/train_joint",
                 "tuning/train_early_exit", "tuning/train_layer_drop"):  # fmt: skip
        assert (folder / f"conf/{name}.yaml").is_file(), name
