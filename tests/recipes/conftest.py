"""What the recipe tests share: a scratch copy of egs/ and a way to run bash in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def egs(tmp_path: Path) -> Path:
    """A copy of egs/ and conf/ without what recipes have made; the package is the repository's."""
    made = shutil.ignore_patterns("data", "dump", "exp", "downloads", "README.md")
    shutil.copytree(ROOT / "egs", tmp_path / "repo" / "egs", symlinks=True, ignore=made)
    shutil.copytree(ROOT / "conf", tmp_path / "repo" / "conf")  # recipes link to it
    return tmp_path / "repo" / "egs"


@pytest.fixture
def run() -> Run:
    """Run a command; standard output and error are kept apart."""

    def run_command(
        *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "SUPERNET_VENV"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment["PYTHONPATH"] = str(ROOT)
        return subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=environment | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run_command


@pytest.fixture
def recipe(egs) -> Path:
    """mini_speech after stage 5: six training, three validation and 55 test utterances."""
    recipe = egs / "mini_speech/supernet1"
    for name, size in (("train", 6), ("dev", 3), ("org/dev", 3), ("test", 55)):
        folder = recipe / "dump/raw" / name
        folder.mkdir(parents=True)
        lines = [f"{folder.name}{n:02d}" for n in range(size)]
        for file in ("wav.scp", "text", "utt2spk"):
            (folder / file).write_text("".join(f"{line} x\n" for line in lines))
    tokens = recipe / "data/en_token_list/char"
    tokens.mkdir(parents=True)
    (tokens / "tokens.txt").write_text("<blank>\n<unk>\na\n<sos/eos>\n")
    (recipe / "conf").mkdir(exist_ok=True)
    (recipe / "conf/train.yaml").write_text("frontend: log_mel\nmax_epoch: 2\n")
    (recipe / "conf/decode.yaml").write_text("search: greedy\n")
    return recipe


class Commands(list[str]):
    """The commands that a recipe gave to Python, in order."""

    def of(self, module: str) -> list[str]:
        """Those of one module of ``bin``."""
        return [command for command in self if f"bin.{module} " in command]


@pytest.fixture
def run_fake(run, tmp_path):
    """Run a script with the fake Python; give back the process and the commands it made."""
    log, fake = tmp_path / "commands", Path(__file__).with_name("fake_python.sh")

    def run_script(script, *options, cwd, env=None):
        log.write_text("")
        fixed = {"FAKE_LOG": str(log), "REAL_PYTHON": sys.executable}
        done = run(script, "--python", fake, *options, cwd=cwd, env=fixed | dict(env or {}))
        return done, Commands(log.read_text().splitlines())

    return run_script


@pytest.fixture
def supernet(recipe, run_fake):
    """Run :func:`recipe` with the fake Python, by default without pre-training."""

    def run_supernet(*options, env=None):
        return run_fake("./run.sh", "--use_ssl", "false", *options, cwd=recipe, env=env)

    return run_supernet


@pytest.fixture
def stages():
    """A function that reads from a finished process which stages it ran."""

    def stages_of(done) -> list[int]:
        words = [line.split() for line in done.stdout.splitlines()]
        return [int(w[3].rstrip(":")) for w in words if len(w) > 3 and w[2] == "Stage"]

    return stages_of
