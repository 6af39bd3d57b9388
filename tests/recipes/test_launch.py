"""Where supernet.sh trains: on one node, on several, on a cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TRAINED = ("--skip_data_prep", "true", "--nj", "2", "--inference_nj", "2")


def test_one_node_with_gpus_uses_espnets_own_spawn(supernet):
    _, commands = supernet(*TRAINED, "--stop_stage", "9", "--ngpu", "4")
    assert commands.of("asr_train")[1].endswith("--ngpu 4 --multiprocessing_distributed true")


def test_nodes_need_a_way_to_be_started(supernet):
    done, commands = supernet(*TRAINED, "--stop_stage", "9", "--num_nodes", "2")
    assert done.returncode == 1
    assert "--num_nodes 2 needs" in done.stderr
    assert len(commands.of("asr_train")) == 1, "statistics only"


def test_nodes_inside_an_allocation(supernet, tmp_path):
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text('#!/usr/bin/env bash\necho "srun $*" >>"${FAKE_LOG}"\nexec "${@:6}"\n')
    srun.chmod(0o755)
    options = ("--stop_stage", "9", "--num_nodes", "2", "--ngpu", "4", "--dist_launcher", "slurm")
    path = f"{srun.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done, commands = supernet(*TRAINED, *options, env={"PATH": path})
    assert done.returncode == 0, done.stderr
    (line,) = (command for command in commands if command.startswith("srun "))
    assert line.startswith("srun --nodes 2 --ntasks-per-node 1 --export=ALL ")
    assert "--ngpu 4 --multiprocessing_distributed true --dist_launcher slurm" in line
    assert "--dist_init_method file:///" in line


def test_cluster_training_goes_through_espnets_launch(supernet, tmp_path):
    wrapper = tmp_path / "espnet/egs2/TEMPLATE/asr1/utils/slurm.pl"
    wrapper.parent.mkdir(parents=True)
    # Local stand-in: JOB=1:n log command...
    wrapper.write_text(
        "#!/usr/bin/env bash\nset -eu\nn=${1#JOB=1:}\nlog=$2\nshift 2\n"
        'for job in $(seq "$n"); do "${@//JOB/$job}" >"${log//JOB/$job}" 2>&1; done\n'
    )
    wrapper.chmod(0o755)
    env = {"cmd_backend": "slurm", "ESPNET_ROOT": str(tmp_path / "espnet")}
    done, commands = supernet(
        *TRAINED, "--num_nodes", "2", "--ngpu", "4", "--stop_stage", "8", env=env
    )
    assert done.returncode == 0, done.stderr
    done, commands = supernet("--stage", "9", "--num_nodes", "2", "--ngpu", "4", env=env)
    (launch,) = commands.of("launch")
    assert f"-m espnet2.bin.launch --cmd {wrapper} --log exp/" in launch
    assert "--ngpu 4 --num_nodes 2 --init_file_prefix exp/" in launch


def test_a_cluster_without_its_wrapper_is_an_error(supernet):
    done, _ = supernet("--stage", "9", env={"cmd_backend": "sge"})
    assert done.returncode == 1
    assert "needs queue.pl of an ESPnet checkout" in done.stderr
    done, _ = supernet("--stage", "9", env={"cmd_backend": "pbs"})
    assert done.returncode == 2
    assert "cmd_backend must be local, slurm or sge, not 'pbs'" in done.stderr
