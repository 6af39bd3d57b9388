"""scripts/common.sh: options, up-to-date marks, parallel jobs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = """#!/usr/bin/env bash
# A script for a test.
set -euo pipefail
. "{common}"
# options {{
stage=1      # first
stop_stage=9 # last
skip_stages=""
force=false  # redo
asr_args=""  # more
nj=2
# }} options
parse_options "${{BASH_SOURCE[0]}}" "$@"
{body}
"""


@pytest.fixture
def script(root, tmp_path, run):
    """Run a script with the options block above and this body."""

    def run_script(body, *options, env=None):
        path = tmp_path / "script.sh"
        common = root / "egs/TEMPLATE/supernet1/scripts/common.sh"
        path.write_text(SCRIPT.format(common=common, body=body))
        return run("bash", path, *options, cwd=tmp_path, env=env)

    return run_script


SHOW = 'echo "${stage}|${stop_stage}|${force}|${asr_args}|${nj}"'


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "1|9|false||2"),
        (["--stage", "3", "--force", "true"], "3|9|true||2"),
        (["--stage=3", "--stop-stage=4"], "3|4|false||2"),
        (["--stage", "3", "--stage", "5"], "5|9|false||2"),
        (["--asr_args", "--max_epoch 3 --seed 2"], "1|9|false|--max_epoch 3 --seed 2|2"),
        (["--asr_args", "--max_epoch=3"], "1|9|false|--max_epoch=3|2"),
        (["--asr_args", ""], "1|9|false||2"),
        (["--asr_args=a=b"], "1|9|false|a=b|2"),
    ],
)
def test_options_are_read(script, options, shown):
    done = script(SHOW, *options)
    assert (done.returncode, done.stdout.strip()) == (0, shown), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stag", "3"], "unknown option '--stag'; did you mean '--stage'?"),
        (["--asr-arg", "x"], "did you mean '--asr_args'?"),
        (["--quantum", "3"], "unknown option '--quantum'; see --help"),
        (["--stage"], "'--stage' has no value"),
        (["--stage", "--nj", "3"], "'--stage' has no value: '--nj' is the next option"),
        (["--stage", "two"], "--stage must be a whole number, not 'two'"),
        (["--stage", "-1"], "--stage must be a whole number"),
        (["--stage", ""], "--stage must be a whole number"),
        (["--force", "yes"], "--force must be true or false, not 'yes'"),
        (["stage"], "unexpected argument 'stage'"),
        (["--"], "unexpected argument '--'"),
    ],
)
def test_a_wrong_option_exits_2(script, options, message):
    done = script(SHOW, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_help_lists_header_and_options(script):
    done = script("echo never", "--help")
    assert done.returncode == 0
    assert "A script for a test." in done.stdout
    assert "--stage=1      # first" in done.stdout
    assert "never" not in done.stdout


def test_wants_follows_the_three_options(script):
    body = "for n in 1 2 3 4 5 6 12; do if wants $n; then echo $n; fi; done"
    done = script(body, "--stage", "2", "--stop_stage", "12", "--skip_stages", "3 5")
    assert done.stdout.split() == ["2", "4", "6", "12"]


# ---- once

ONCE = 'make() { echo made; cat in >out; }\nonce mark in out make "$@"'


def test_once_skips_what_is_up_to_date(script, tmp_path):
    (tmp_path / "in").write_text("1")
    assert "made" in script(ONCE).stdout
    assert "up to date" in script(ONCE).stdout
    assert "made" in script(ONCE, "--force", "true").stdout


def test_once_runs_again_after_a_change(script, tmp_path):
    (tmp_path / "in").write_text("1")
    script(ONCE)
    later = (tmp_path / "mark").stat().st_mtime + 5
    os.utime(tmp_path / "in", (later, later))
    assert "made" in script(ONCE).stdout, "a newer input"
    os.utime(tmp_path / "in", (1, 1))
    assert "up to date" in script(ONCE).stdout
    (tmp_path / "out").unlink()
    assert "made" in script(ONCE).stdout, "an output that is gone"
    assert "made" in script(ONCE + " --fs 8000").stdout, "another command"
    assert "up to date" in script(ONCE + " --fs 8000 --nj 7").stdout, "jobs do not count"


def test_once_leaves_no_mark_after_a_failure(script, tmp_path):
    (tmp_path / "in").write_text("1")
    body = "make() { cat in >out; false; echo never; }\nonce mark in out make\necho never"
    done = script(body)
    assert done.returncode == 1
    assert "never" not in done.stdout
    assert not (tmp_path / "mark").exists()


def test_once_names_a_missing_input_and_a_missing_output(script):
    done = script("once mark absent.txt out true")
    assert done.returncode == 1
    assert "absent.txt is missing" in done.stderr
    done = script('once mark "" out true')
    assert done.returncode == 1
    assert "ended without making out" in done.stderr


# ---- jobs


def test_run_jobs_numbers_the_jobs_and_keeps_their_logs(script, tmp_path):
    done = script('run_jobs 3 logs/job.{JOB}.log bash -c "echo I am {JOB} of 3"')
    assert done.returncode == 0, done.stderr
    logs = [(tmp_path / f"logs/job.{n}.log").read_text() for n in (1, 2, 3)]
    assert logs == [f"I am {n} of 3\n" for n in (1, 2, 3)]


def test_run_jobs_shows_the_log_of_the_failing_job(script):
    body = """run_jobs 3 logs/job.{JOB}.log bash -c 'echo told by {JOB}; [ {JOB} != 2 ]'
echo never"""
    done = script(body)
    assert done.returncode == 1
    assert "told by 2" in done.stderr
    assert "told by 1" not in done.stderr
    assert "1 of 3 jobs failed" in done.stderr
    assert "never" not in done.stdout


def test_run_jobs_hands_cluster_wrappers_their_own_job_mark(script):
    env = {"cmd_backend": "slurm", "decode_cmd": "echo wrapper --mem 4G"}
    done = script("run_jobs 4 logs/job.{JOB}.log work --key keys.{JOB}", env=env)
    assert done.stdout.strip() == ("wrapper --mem 4G JOB=1:4 logs/job.JOB.log work --key keys.JOB")


def test_run_logged_keeps_progress_and_log_apart(script, tmp_path):
    body = "run_logged exp/train.log bash -c 'echo epoch 1; echo detail >&2; exit 3'\necho never"
    done = script(body)
    assert done.returncode == 3
    assert done.stdout == "epoch 1\n"
    assert "detail" in done.stderr
    assert (tmp_path / "exp/train.log").read_text() == "detail\n"


@pytest.mark.parametrize(("lines", "jobs"), [(1, 1), (7, 3), (10, 10), (100, 7)])
def test_split_lines_loses_nothing(script, tmp_path, lines, jobs):
    text = [f"utt{n} x" for n in range(lines)]
    (tmp_path / "scp").write_text("\n".join(text) + "\n")
    done = script(f"split_lines scp {jobs} parts/keys; ls parts")
    assert len(done.stdout.split()) == jobs
    parts = [Path(tmp_path, f"parts/keys.{n + 1}").read_text().splitlines() for n in range(jobs)]
    assert sum(parts, []) == text
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_jobs_for(script, tmp_path):
    (tmp_path / "scp").write_text("a\n" * 101)
    (tmp_path / "empty").write_text("")
    body = "jobs_for scp 50 8; jobs_for scp 50 2; jobs_for scp 200 8; jobs_for scp 1 200"
    assert script(body).stdout.split() == ["3", "2", "1", "101"]
    done = script("jobs_for empty 50 5")
    assert done.returncode == 1
    assert "empty is empty" in done.stderr


def test_a_stopped_script_stops_its_jobs(root, tmp_path):
    common = root / "egs/TEMPLATE/supernet1/scripts/common.sh"
    job = "bash -c 'echo $$ >pid.{JOB}; exec sleep 60'"
    body = f"set -euo pipefail; . {common}; run_jobs 2 log.{{JOB}} {job}"
    process = subprocess.Popen(["bash", "-c", body], cwd=tmp_path)
    deadline = time.monotonic() + 20
    pids: list[int] = []
    while len(pids) < 2 and time.monotonic() < deadline:
        texts = [path.read_text().strip() for path in tmp_path.glob("pid.*")]
        pids = [int(text) for text in texts if text]
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) == 130
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
