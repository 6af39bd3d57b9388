"""supernet.sh: which stages run, and with which commands. No model is trained here."""

from __future__ import annotations

import os

import pytest
import yaml

from espnet2_supernet.train.folder_lock import locked_folder

TRAINED = ("--skip_data_prep", "true", "--nj", "2", "--inference_nj", "2")


def test_a_full_run_makes_every_step_once_and_only_once(supernet, stages):
    done, commands = supernet(*TRAINED, "--check_streaming", "false")
    assert done.returncode == 0, done.stderr
    assert stages(done) == [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert "the table" in done.stdout
    assert len(commands.of("asr_train")) == 2, "statistics and training"
    assert len(commands.of("prune_extract")) == 2, "two subnets"
    assert len(commands.of("bundle")) == 2, "one subnet streams: float32 and int8"
    assert len(commands.of("latency")) == 1
    assert len(commands.of("asr_inference")) == 4, "two subnets, two jobs"
    assert len(commands.of("score")) == 2
    assert not commands.of("pack"), "off by default"

    done, commands = supernet(*TRAINED, "--check_streaming", "false")
    assert done.returncode == 0, done.stderr
    assert [c.split()[1] for c in commands] == ["espnet2_supernet.bin.report"] * 2, "up to date"


def test_decoding_covers_every_utterance_in_order(supernet, recipe):
    supernet(*TRAINED, "--stop_stage", "11")
    (experiment,) = (recipe / "exp").glob("asr_train_raw_en_char")
    for subnet in ("server", "device"):
        text = (experiment / f"decode_{subnet}/test/text").read_text().split("\n")
        assert text == [f"test{n:02d} a" for n in range(55)] + [""]
        how = yaml.safe_load((experiment / f"decode_{subnet}/test/decode.yaml").read_text())
        assert how["num_utterances"] == 55
        assert "real_time_factor" not in how, "two jobs"
        assert f"--output_dir exp/{experiment.name}/decode_{subnet}/test" in how["command"]
        assert "logdir" not in how["command"]


def test_inputs_of_each_command(supernet):
    _, commands = supernet(*TRAINED)
    stats, training = commands.of("asr_train")
    assert "--collect_stats true" in stats
    assert "--train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound" in training
    assert "--valid_data_path_and_name_and_type dump/raw/dev/text,text,text" in training
    assert "--normalize_conf stats_file=exp/asr_stats_raw_en_char/train/feats_stats.npz" in training
    assert "--resume true" in training
    for command in commands.of("asr_inference"):
        assert "--asr_model_file exp/asr_train_raw_en_char/valid.loss.ave.pth" in command
    (check,) = commands.of("check_streaming")
    assert "--wav_scp dump/raw/org/dev/wav.scp" in check


def test_a_model_without_streaming_subnets_has_nothing_to_check(supernet, recipe):
    supernet(*TRAINED, "--stop_stage", "9")
    (experiment,) = (recipe / "exp").glob("asr_train_raw_en_char")
    (experiment / "config.yaml").write_text("context: full\n")
    done, commands = supernet(*TRAINED, "--stage", "11", "--stop_stage", "11")
    assert done.returncode == 0, done.stderr
    assert not commands.of("check_streaming") and "no subnet streams" in done.stdout


def test_one_subnet_of_the_table(supernet):
    supernet(*TRAINED, "--stop_stage", "9")
    done, commands = supernet("--stage", "11", "--stop_stage", "12", "--subnets", "device")
    assert done.returncode == 0, done.stderr
    assert all("--subnet device" in command for command in commands.of("asr_inference"))
    done, commands = supernet("--stage", "11", "--stop_stage", "11", "--subnets", "phone")
    assert done.returncode == 2
    assert "'phone' is not one of: server device" in done.stderr
    assert commands == []


def test_the_validation_set_is_decoded_unfiltered(supernet):
    _, commands = supernet(*TRAINED, "--test_sets", "dev")
    for command in commands.of("asr_inference"):
        assert "dump/raw/org/dev/wav.scp,speech,sound" in command
    for command in commands.of("score"):
        assert "--ref dump/raw/org/dev/text" in command


def test_force_keeps_the_earlier_experiment(supernet, recipe):
    supernet(*TRAINED, "--stop_stage", "9")
    done, commands = supernet("--stage", "9", "--stop_stage", "9", "--force", "true")
    assert done.returncode == 0, done.stderr
    assert len(commands.of("asr_train")) == 1
    assert len(list((recipe / "exp").glob("asr_train_raw_en_char.old.*/checkpoint.pth"))) == 1


def test_an_experiment_that_is_being_trained_is_left_alone(supernet, recipe):
    supernet(*TRAINED, "--stop_stage", "9")
    experiment = recipe / "exp/asr_train_raw_en_char"
    with locked_folder(experiment):
        done, commands = supernet("--stage", "9", "--stop_stage", "9", "--force", "true")
    assert done.returncode == 1 and commands == []
    assert f"exp/{experiment.name}: process {os.getpid()} on " in done.stderr
    assert (experiment / "checkpoint.pth").exists(), "not moved away"
    done, commands = supernet("--stage", "9", "--stop_stage", "9", "--force", "true")
    assert done.returncode == 0 and len(commands) == 1, done.stderr


def test_a_training_that_is_done_is_not_started_again_on_other_hardware(supernet):
    supernet(*TRAINED, "--stop_stage", "9")
    _, commands = supernet("--stage", "9", "--stop_stage", "9", "--ngpu", "4", "--nj", "9")
    assert commands == []
    _, commands = supernet("--stage", "9", "--stop_stage", "9", "--asr_args", "--max_epoch 3")
    assert len(commands) == 1, "another experiment, with the same statistics"
    assert "--output_dir exp/asr_train_raw_en_char_max_epoch3" in commands[0]


def test_bundles_and_latency_follow_the_options(supernet, recipe):
    options = (*TRAINED, "--stop_stage", "13", "--latency_args", "--num_utts 3 --repeats 1")
    done, commands = supernet(*options, "--bundles", "int8")
    assert done.returncode == 0, done.stderr
    [bundle] = commands.of("bundle")
    assert "--subnet device --precision int8" in bundle and "bundle_device_int8" in bundle
    exp = "exp/asr_train_raw_en_char"
    [latency] = commands.of("latency")
    assert f"--models {exp}/extracted_server {exp}/extracted_device" in latency
    assert f"--bundles {exp}/bundle_device_int8 --wav_scp dump/raw/org/dev/wav.scp" in latency
    assert latency.endswith(f"--output_dir {exp}/latency --num_utts 3 --repeats 1")
    (recipe / exp / "extracted_device/model.pth").touch()
    _, commands = supernet(*options, "--bundles", "", "--stage", "13")
    assert "--bundles --wav_scp" in commands.of("latency")[0]


def test_what_the_runtime_does_not_know_has_no_bundle(supernet):
    env = {"FAKE_ENCODER": "supernet_wav2vec2"}
    done, commands = supernet(*TRAINED, "--stop_stage", "10", env=env)
    assert done.returncode == 0, done.stderr
    assert len(commands.of("prune_extract")) == 2 and not commands.of("bundle")


def test_a_row_that_drops_frames_has_bundles(supernet):
    done, commands = supernet(
        *TRAINED, "--stop_stage", "10", env={"FAKE_LINE": "                kind: salad"}
    )
    assert done.returncode == 0, done.stderr
    assert len(commands.of("bundle")) == 2


def test_an_unbuilt_stage_asked_for_is_an_error(supernet):
    done, commands = supernet("--stage", "15", "--stop_stage", "15")
    assert done.returncode == 1
    assert "stage 15" in done.stderr
    assert "not built yet" in done.stderr
    assert commands == []


def test_skips(supernet, stages):
    skip = ("--skip_data_prep", "--skip_train", "--skip_eval")
    done, commands = supernet(*(word for name in skip for word in (name, "true")))
    assert stages(done) == [14, 15]
    assert commands == []
    done, _ = supernet("--skip_stages", "1 2 3 4 5", "--stop_stage", "7")
    assert stages(done) == [6, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "5", "--stop_stage", "3"], "is after --stop_stage"),
        (["--token_type", "phone"], "--token_type must be"),
        (["--valid_set", ""], "--valid_set is empty"),
        (["--train_set", ""], "--train_set is empty"),
        (["--ngpus", "2"], "did you mean '--ngpu'?"),
        (["--check_streaming", "1"], "must be true or false"),
        (["--dist_launcher", "lsf"], "--dist_launcher must be slurm or mpi"),
        (["--encrl_train_dir", "."], "--encrl_train_dir needs --train_command encrl_train"),
    ],
)
def test_bad_options_start_nothing(supernet, options, message):
    done, commands = supernet(*options)
    assert done.returncode == 2
    assert message in done.stderr
    assert commands == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("8", "tokens.txt is missing: run stage 5"),
        ("9", "run stage 8"),
        ("10", "run stage 9 first"),
    ],
)
def test_a_stage_before_its_time_names_what_is_missing(supernet, recipe, number, message):
    (recipe / "data/en_token_list/char/tokens.txt").unlink()
    done, commands = supernet("--stage", number, "--stop_stage", number)
    assert done.returncode == 1
    assert message in done.stderr
    assert commands == []


def test_an_ambiguous_checkpoint_is_asked_for(supernet, recipe):
    supernet(*TRAINED, "--stop_stage", "9")
    (recipe / "exp/asr_train_raw_en_char/valid.cer_device.ave.pth").touch()
    done, _ = supernet("--stage", "11", "--stop_stage", "11")
    assert done.returncode == 1
    assert "valid.cer_device.ave.pth valid.loss.ave.pth" in done.stderr
    done, commands = supernet(
        "--stage", "11", "--stop_stage", "11", "--inference_asr_model", "valid.cer_device.ave.pth"
    )
    assert done.returncode == 0, done.stderr
    assert "decode_server_asr_model_valid.cer_device.ave/test" in commands[0]


def test_an_environment_that_is_none_is_told(supernet, tmp_path, recipe, run):
    done, commands = supernet(env={"SUPERNET_VENV": str(tmp_path / "venv")})
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert commands == []
    bare = tmp_path / "bare_python"
    bare.write_text("#!/usr/bin/env bash\nexit 1\n")
    bare.chmod(0o755)
    done = run("./run.sh", "--python", bare, cwd=recipe)
    assert done.returncode == 1
    assert "run local/setup.sh" in done.stderr
