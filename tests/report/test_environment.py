"""The Environments block, and what the report package may import."""

import subprocess
import sys
from importlib import metadata

import espnet2_supernet
from espnet2_supernet.report import environment
from espnet2_supernet.report.environment import environment_lines


def test_block_has_the_lines_of_espnet():
    lines = environment_lines()
    starts = ["- date: `", "- python version: `3.", "- espnet version: `espnet ",
              "- pytorch version: `pytorch ", "- espnet2_supernet version: `", "- Git hash: `",
              "  - Commit date: `"]  # fmt: skip
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_our_version_needs_no_installation(monkeypatch):
    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    lines = environment_lines()
    assert f"- espnet2_supernet version: `espnet2_supernet {espnet2_supernet.__version__}`" in lines
    assert "- espnet version: `espnet unknown`" in lines


def test_absent_tools_are_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "_version", lambda name: "unknown")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment_lines()[-2:] == ["- Git hash: `unknown`", "  - Commit date: `unknown`"]


def test_scoring_and_report_load_neither_torch_nor_espnet():
    code = (
        "import sys, espnet2_supernet.bin.score, espnet2_supernet.bin.report;"
        "print([m for m in ('torch', 'espnet', 'espnet2', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
