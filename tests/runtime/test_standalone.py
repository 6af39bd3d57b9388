"""The runtime where there is neither torch nor ESPnet."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import espnet2_supernet
from espnet2_supernet.runtime.bundle import write_bundle
from espnet2_supernet.runtime.recognizer import Recognizer

ROOT = Path(espnet2_supernet.__file__).parents[1]
DEPENDENCIES = ("numpy", "numba", "soundfile")
# Everything but these, what they need, and the standard library is missing.
ALLOWED = {"numpy", "numba", "llvmlite", "soundfile", "cffi", "pycparser", "typing_extensions"}
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0].lstrip("_")
        known = top in {ALLOWED!r} or top.startswith(("soundfile", "cffi", "espnet2_supernet"))
        if known or name.partition(".")[0] in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
"""
MAIN = """
import sys
from espnet2_supernet.bin.stream import run
run()
assert not [name for name in ("torch", "espnet2", "espnet", "yaml") if name in sys.modules]
"""


@pytest.fixture(scope="module")
def example(make_bundle, speech, tmp_path_factory):
    """A bundle, a sound and what is said in it."""
    folder = tmp_path_factory.mktemp("standalone")
    (folder / "bundle").mkdir()
    write_bundle(folder / "bundle", make_bundle())
    wave = speech(1.2)
    soundfile.write(folder / "a.wav", wave, 16000, subtype="FLOAT")
    recognizer = Recognizer(make_bundle())
    recognizer.warm_up()
    return folder, recognizer(wave).text


def stream(python, code, folder, environment=None):
    command = [python, "-c", code, str(folder / "bundle"), str(folder / "a.wav")]
    return subprocess.run(
        [*command, "--allow_untrained", "--no_partial"], capture_output=True, text=True,
        timeout=280, cwd=folder, env=environment,
    )  # fmt: skip


def test_torch_and_espnet_are_not_needed(example):
    folder, text = example
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = stream(sys.executable, BLOCKER + MAIN, folder, {**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"a {text}\n"


def test_everything_imports_without_torch():
    names = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in (ROOT / "espnet2_supernet/runtime").rglob("*.py")
    ]
    code = BLOCKER + "import importlib\n" + f"for name in {names!r}: importlib.import_module(name)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=280, env=environment
    )
    assert done.returncode == 0, done.stderr


def requirements(names):
    """Distributions that some need, themselves included, from their metadata."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for line in found[name].requires or []:
            if ";" not in line or "extra" not in line:
                needed = re.match(r"[\w.-]+", line).group()
                try:
                    importlib.metadata.distribution(needed)
                except importlib.metadata.PackageNotFoundError:
                    continue  # for another Python or system
                waiting.append(needed)
    return found.values()


def test_a_bare_environment_is_enough(example, tmp_path):
    """Made of links to the installed packages: there may be no network."""
    folder, text = example
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True,
        timeout=120,
    )  # fmt: skip
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    for distribution in requirements(DEPENDENCIES):
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            target = Path(str(distribution.locate_file(top)))
            if target.exists() and not (site / top).exists():
                (site / top).symlink_to(target)
    (site / "espnet2_supernet").symlink_to(ROOT / "espnet2_supernet")
    python = str(tmp_path / "venv/bin/python")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    gone = subprocess.run([python, "-c", "import torch"], capture_output=True, timeout=60)
    assert gone.returncode != 0
    done = stream(python, MAIN, folder, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"a {text}\n"
