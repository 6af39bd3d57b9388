"""damon.sh: which commands its stages give to which files, and what they skip."""

from __future__ import annotations

import pytest
import yaml


@pytest.fixture
def damon(recipe, egs, run_fake):
    """AN4's damon1 over mini_speech after stage 5, with the fake Python."""

    def run_damon(*options):
        words = ("--supernet_dir", "../../mini_speech/supernet1", "--nj", "1")
        words += ("--supernet_args", "--use_ssl false --skip_data_prep true --nj 2")
        words += ("--teacher_exp", "exp/asr_train_raw_en_char")
        words += ("--train_set", "train", "--valid_set", "dev")
        return run_fake("./run.sh", *words, *options, cwd=egs / "an4/damon1")

    return run_damon


def tables(commands) -> tuple[str, str]:
    """The tables of several experiments: of stage 6 or 8, and of stage 9."""
    report, joint = (one for one in commands.of("report") if "/damon1/exp/RESULTS" in one)
    return report, joint


def test_from_the_teacher_to_the_table(damon, recipe, egs):
    done, commands = damon("--tokens", "salad downsample:factor=3 none")
    assert done.returncode == 0, done.stderr
    exp = egs / "an4/damon1/exp"
    teacher = f"{recipe}/exp/asr_train_raw_en_char/valid.loss.ave.pth"
    labels = commands.of("salad_labels")
    assert len(labels) == 2 and all(f"--asr_model_file {teacher}" in one for one in labels)
    assert "--subnet server" in labels[0] and f"{recipe}/dump/raw/train/wav.scp" in labels[0]
    stats, detector = commands.of("salad_train")
    assert "--collect_stats true" in stats and f"--asr_model_file {teacher}" in detector
    assert "/train/labels.scp,labels,kaldi_ark" in detector and "/dev/labels.scp" in detector
    (threshold,) = commands.of("salad_threshold")
    assert "--keep_ratio 0.6" in threshold and f"{recipe}/dump/raw/dev/wav.scp" in threshold

    teacher_run, *tuned = [c for c in commands.of("asr_train") if "--collect_stats" not in c]
    assert "--init_param" not in teacher_run and len(tuned) == 3
    found = exp / "detector_train/detector_keep_ratio0.6/detector.pth"
    assert f"--init_param {teacher} {found}" in tuned[0]
    assert "--supernet_conf subnets.device.tokens.kind=salad" in tuned[0]
    assert "--supernet_conf subnets.server.tokens.factor=3" in tuned[1]
    assert str(found) not in tuned[1] + tuned[2] and "tokens.kind=none" in tuned[2]
    for one in tuned:
        assert f"--config {egs}/an4/damon1/conf/train.yaml" in one
    report, joint = tables(commands)
    assert f"--expdir {recipe}/exp/asr_train_raw_en_char {exp}/asr_train_tokens_salad" in joint
    assert "RESULTS_ALL.md --against" in joint and report.endswith("exp/RESULTS.md")
    for name in ("salad_detector_keep_ratio0.6", "downsample_factor_3", "none"):
        assert f"{exp}/asr_train_tokens_{name}" in report
    assert "the table" in done.stdout


def test_what_is_up_to_date_is_skipped(damon):
    options = ("--stop_stage", "5", "--tokens", "salad")
    assert damon(*options)[0].returncode == 0
    done, commands = damon(*options)
    assert done.returncode == 0 and commands == [], commands
    done, commands = damon(*options, "--salad_target", "--keep_ratio 0.5")
    assert [c.split("bin.")[1].split()[0] for c in commands] == ["salad_threshold", "asr_train"]
    assert "--keep_ratio 0.5" in commands[0]


def test_what_has_changed_is_made_anew(damon, recipe, egs):
    exp = egs / "an4/damon1/exp"
    options = ("--stop_stage", "5", "--tokens", "salad none")
    assert damon(*options)[0].returncode == 0
    (exp / "detector_train/detector_keep_ratio0.6/detector.pth").touch()
    done, commands = damon(*options)
    (tuned,) = commands.of("asr_train")
    assert "kind=salad" in tuned, "the other rule does not read the detector"
    assert [path.name.split(".old.")[0] for path in exp.glob("*.old.*")] == [
        "asr_train_tokens_salad_detector_keep_ratio0.6"
    ]
    for changed in (("--teacher_subnet", "device"), ("--force", "true", "--stage", "3")):
        done, commands = damon(*options, "--stop_stage", "3", *changed)
        assert done.returncode == 0 and len(commands.of("salad_train")) == 2, done.stderr
        assert list(exp.glob("detector_train.old.*")), "no other labels for a detector of before"


def test_a_detector_whose_training_was_cut_goes_on_with_the_same_labels_only(damon, egs):
    exp = egs / "an4/damon1/exp"
    assert damon("--stop_stage", "3")[0].returncode == 0
    for labels_are_newer in (False, True):
        for name in ("valid.loss.ave.pth", ".done"):
            (exp / "detector_train" / name).unlink()
        if labels_are_newer:
            next(exp.glob("salad_labels_*/train/labels.scp")).touch()
        done, commands = damon("--stage", "3", "--stop_stage", "3")
        assert done.returncode == 0 and "salad_train" in commands[-1], done.stderr
        assert bool(list(exp.glob("detector_train.old.*"))) == labels_are_newer


def test_what_is_missing_is_named(damon):
    done, _ = damon("--stage", "2", "--stop_stage", "2")
    assert done.returncode == 1 and "run stage 1 first" in done.stderr
    assert damon("--stop_stage", "1")[0].returncode == 0
    done, _ = damon("--stage", "5", "--stop_stage", "5")
    assert done.returncode == 1 and "detector.pth is missing: run stages 2 to 4" in done.stderr
    done, _ = damon("--token", "salad")
    assert done.returncode == 2 and "did you mean '--tokens'" in done.stderr
    done, _ = damon("--supernet_dir", "nowhere")
    assert done.returncode == 2 and "nowhere has no run.sh" in done.stderr


def test_pruning_starts_from_the_dense_row(damon, recipe, egs):
    exp = egs / "an4/damon1/exp"
    assert damon("--stop_stage", "1")[0].returncode == 0
    done, commands = damon("--stage", "7", "--pruning", "safari small", "--pruning_sparsity", "0.4")
    assert done.returncode == 0, done.stderr
    dense = f"{exp}/dense_asr_train_raw_en_char_server"
    first, small, *_ = commands.of("prune_extract")
    assert f"--subnet server --output_dir {dense} " in first and "--sparsity" not in first
    assert f"--output_dir {dense}_sparsity0.4 " in small and "--sparsity 0.4" in small
    pruned, scratch = [c for c in commands.of("asr_train") if "--collect_stats" not in c]
    assert f"--init_param {dense}/model.pth" in pruned and "--init_param" not in scratch
    assert "subnets.device.mask.sparsity=0.4" in pruned
    assert f"--config {exp}/conf/safari.yaml" in pruned
    config = yaml.safe_load((exp / "conf/safari.yaml").read_text())
    base = yaml.safe_load((egs / "an4/damon1/conf/train.yaml").read_text())
    assert config["supernet_conf"]["schedule"]["kind"] == "prune_and_grow"
    assert {k: v for k, v in config.items() if k != "supernet_conf"} == {
        k: v for k, v in base.items() if k != "supernet_conf"
    }
    config = yaml.safe_load((exp / "conf/small.yaml").read_text())
    assert config["encoder_conf"] == {"linear_units": 288} and "freeze_param" not in config
    for one in tables(commands):
        assert f"{exp}/asr_train_safari_sparsity0.4" in one and "_tokens_" not in one
    assert f"not trained, left out: {exp}/asr_train_tokens_none" in done.stdout
    done, _ = damon("--stage", "7", "--pruning", "magic")
    assert done.returncode == 1 and "no conf/pruning/magic.yaml; there are:" in done.stderr


def test_methods_with_dropped_frames(damon, recipe, egs):
    exp = egs / "an4/damon1/exp"
    assert damon("--stop_stage", "4")[0].returncode == 0
    both = ("--pruning", "omp small", "--pruning_tokens", "none salad:positions=compacted")
    speed = ("--latency_args", "--num_utts 7 --repeats 2")
    chosen = ("--against", "asr_train_omp_sparsity0.5", "--more_exps", "exp/asr_train_raw_en_char")
    done, commands = damon("--stage", "7", *both, *speed, *chosen)
    assert done.returncode == 0, done.stderr
    pruned, dropping, small = [c for c in commands.of("asr_train") if "--collect_stats" not in c]
    found = exp / "detector_train/detector_keep_ratio0.6/detector.pth"
    dense = exp / "dense_asr_train_raw_en_char_server/model.pth"
    assert f"--init_param {dense} {found} --supernet_conf subnets.device.mask" in dropping
    assert "--supernet_conf subnets.device.tokens.positions=compacted" in dropping
    assert "--supernet_conf subnets.server.tokens.kind=salad" in dropping
    assert ".tokens." not in pruned and "--init_param" not in small, "small learns from scratch"
    name = "asr_train_omp_sparsity0.5_tokens_salad_detector_keep_ratio0.6_positions_compacted"
    assert f"--output_dir {exp / name} " in dropping and f"--config {exp}/conf/omp.yaml" in dropping
    assert "small: not with salad" in done.stdout
    for one in tables(commands):
        assert name in one, "in the tables of stages 8 and 9"
    teacher = "exp/asr_train_raw_en_char"
    measured = commands.of("latency")[-1]
    assert "--num_utts 7 --repeats 2" in measured and f"--output_dir {exp}/latency" in measured
    for one in (f"{exp}/{name}/extracted_device", f"{teacher}/extracted_server"):
        assert one in measured, "in turns"
    assert len(commands.of("latency")) == 1, "all of them in one process"
    table = commands.of("report")[-1]
    assert f"--latency {exp}/latency/latency.json" in table
    assert table.count(f"{recipe}/{teacher} ") == 3, "the reference, one of --more_exps, --against"
    assert table.endswith(f"{teacher} {exp}/asr_train_omp_sparsity0.5")


def test_methods_need_the_detector_of_their_rule(damon):
    assert damon("--stop_stage", "1")[0].returncode == 0
    done, _ = damon("--stage", "7", "--pruning", "omp", "--pruning_tokens", "salad")
    assert done.returncode == 1 and "detector.pth is missing: run stages 2 to 4" in done.stderr


def test_help_lists_stages_and_options(damon):
    done, _ = damon("--help")
    assert done.returncode == 0
    assert "4      SALAD threshold" in done.stdout and "--salad_target" in done.stdout
