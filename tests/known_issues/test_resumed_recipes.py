"""Recipes resumed what had begun from older weights or labels, and called it up to date."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "egs/TEMPLATE/supernet1/scripts"


def script(tmp_path, body):
    head = f"set -euo pipefail\nforce=false\n. {SCRIPTS}/common.sh\n. {SCRIPTS}/training.sh\n"
    return subprocess.run(
        ["bash", "-c", head + body], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("--init_param a.pth:encoder:encoder b.pth --max_epoch 2 c.pth", "a.pth b.pth"),
        ("--init_model_file=d.pth --teacher_model_file e.pth --init_blocks last", "d.pth e.pth"),
        ("--init_param=f.pth --model_conf {losses:{kl:1.0}} --seed 2", "f.pth"),
        ("--max_epoch 2 --encoder_conf num_blocks=*", ""),
        ("", ""),
    ],
)
def test_options_that_name_weights(tmp_path, options, files):
    assert script(tmp_path, f"start_files '{options}'").split() == files.split()


def test_newer_weights_begin_a_new_experiment(tmp_path):
    (tmp_path / "exp").mkdir()
    made = """
        command_line=./run.sh
        touch -d '2 minutes ago' old.pth; touch -d '1 minute ago' exp/checkpoint.pth; touch new.pth
        start_experiment exp 9 old.pth; ls -d exp*; cat exp/checkpoint.pth
        start_experiment exp 9 old.pth new.pth; ls -d exp*; ls exp
    """
    first, kept, *rest = script(tmp_path, made).split()
    assert first == kept == "exp" and rest[0].startswith("exp.old.") and rest[1:] == ["run.sh"]


def test_two_experiments_set_aside_within_a_second(tmp_path):
    """The second was moved into the folder of the first."""
    made = """
        for n in 1 2; do mkdir exp; echo "${n}" >exp/checkpoint.pth; set_aside exp; done
        cat exp.old.*/checkpoint.pth
    """
    assert script(tmp_path, made).split() == ["1", "2"]
