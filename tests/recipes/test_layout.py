"""The recipes on disk: thin, linked to the template, documented, clean shell."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "egs/TEMPLATE/supernet1"
RECIPES = sorted(
    path.parent
    for path in (ROOT / "egs").glob("*/supernet1/run.sh")
    if "TEMPLATE" not in path.parts
)
SHELL = sorted(
    path
    for pattern in ("local/*.sh", "egs/**/*.sh", "tests/**/*.sh", ".ci/run")
    for path in ROOT.glob(pattern)
    if path.is_file() and not path.is_symlink() and "downloads" not in path.parts
)


def stages_of_script() -> dict[int, str]:
    text = (TEMPLATE / "supernet.sh").read_text()
    (array,) = re.findall(r"^stage_titles=\((.*?)\)$", text, re.DOTALL | re.MULTILINE)
    return dict(enumerate(re.findall(r'"([^"]+)"', array), start=1))


def unbuilt_stages() -> set[int]:
    text = (TEMPLATE / "supernet.sh").read_text()
    (numbers,) = re.findall(r'^unbuilt_stages="([\d ]*)"$', text, re.MULTILINE)
    return {int(number) for number in numbers.split()}


def table(lines: list[str], pattern: str) -> dict[int, str]:
    found = (re.match(pattern, line) for line in lines)
    return {int(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("egs/TEMPLATE/supernet1/supernet.sh", r"#   (\d+) +(.*)"),
        ("README.md", r"\| (\d+) \| (.*) \|"),
    ],
)
def test_stage_tables_are_those_of_the_script(file, pattern):
    titles = stages_of_script()
    documented = table((ROOT / file).read_text().splitlines(), pattern)
    assert list(documented) == list(titles) == list(range(1, 16))
    for number, title in titles.items():
        assert documented[number].startswith(title), number
        assert ("not built yet" in documented[number]) == (number in unbuilt_stages()), number


def test_every_built_stage_has_its_function():
    scripts = [f"scripts/{name}.sh" for name in ("data", "training", "evaluation")]
    text = "".join((TEMPLATE / name).read_text() for name in scripts)
    functions = {int(number) for number in re.findall(r"^stage_(\d+)\(\)", text, re.MULTILINE)}
    assert functions == set(stages_of_script()) - unbuilt_stages()


def test_sizes_stay_readable():
    assert len((TEMPLATE / "supernet.sh").read_text().splitlines()) <= 400
    for recipe in RECIPES:
        assert len((recipe / "run.sh").read_text().splitlines()) <= 60, recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_has_its_parts(recipe):
    for name in ("supernet.sh", "path.sh", "cmd.sh", "db.sh", "scripts"):
        link = recipe / name
        assert link.is_symlink(), link
        assert link.resolve() == (TEMPLATE / name).resolve()
    for name in ("run.sh", "local/data.sh"):
        assert (recipe / name).stat().st_mode & stat.S_IXUSR, name
    assert "## Results" in (recipe / "README.md").read_text()
    assert '"$@"' in (recipe / "run.sh").read_text()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_the_configurations_of_a_recipe_exist(recipe):
    text = (recipe / "run.sh").read_text()
    for option in ("asr_config", "inference_config"):
        (name,) = re.findall(rf"--{option} (\S+)", text)
        assert (recipe / name).is_file(), name


def test_all_recipes_are_listed():
    text = (ROOT / "egs/README.md").read_text()
    for recipe in RECIPES:
        assert f"({recipe.parent.name}/supernet1)" in text


def test_all_benchmarks_are_listed():
    text = (ROOT / "tests/benchmarks/README.md").read_text()
    scripts = {path.name for path in (ROOT / "tests/benchmarks").glob("*.py")}
    assert set(re.findall(r"benchmarks/(\w+\.py)", text)) == scripts


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^(\./local/\S+)", text, re.MULTILINE)
    assert commands == ["./local/run_mini_speech.sh", "./local/run_tests.sh"]
    for command in commands:
        assert (ROOT / command).stat().st_mode & stat.S_IXUSR
    assert "./local/run_tests.sh" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("script", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_is_clean(script, run):
    if shutil.which("shellcheck") is None and run("shellcheck", "-V", cwd=ROOT).returncode:
        pytest.skip("no shellcheck")
    done = run("shellcheck", "-x", script.relative_to(ROOT), cwd=ROOT)
    assert done.returncode == 0, done.stdout
    sourced = "shell=bash" in script.read_text().splitlines()[0]
    assert sourced or "set -euo pipefail" in script.read_text()
