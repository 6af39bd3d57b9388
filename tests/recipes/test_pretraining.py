"""Stages 6, 7 and 9 of supernet.sh: which sets and checkpoints they are given."""

from __future__ import annotations

TRAINED = ("--skip_data_prep", "true", "--nj", "2", "--inference_nj", "2")


def test_pretraining_is_skipped_or_stage_9_starts_from_it(supernet, recipe):
    done, commands = supernet(*TRAINED, "--stop_stage", "9")
    assert "skipped (--use_ssl true pre-trains)" in done.stdout and not commands.of("ssl_train")
    assert "--ssl_model_file" not in commands.of("asr_train")[-1]

    options = (*TRAINED, "--stop_stage", "9", "--use_ssl", "true", "--ssl_masks", "freeze")
    done, commands = supernet(*options)
    assert done.returncode == 0, done.stderr
    stats, training = commands.of("ssl_train")
    assert "--collect_stats true" in stats and "text" not in stats + training
    assert "--train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound" in training
    assert "stats_file=exp/ssl_stats_raw_train/train/feats_stats.npz" in training
    assert "--output_dir exp/ssl_train_ssl_raw_train" in training
    (tuned,) = commands.of("asr_train")  # its statistics are those of the training before
    model = "exp/ssl_train_ssl_raw_train/valid.loss.ave.pth"
    assert f"--ssl_model_file {model} --ssl_masks freeze" in tuned
    out = "exp/asr_train_raw_en_char_from_ssl_train_ssl_raw_train_masks_freeze"
    assert f"--output_dir {out}" in tuned
    assert supernet(*options)[1] == [], "up to date"
    done, _ = supernet("--stage", "7", "--stop_stage", "7", "--force", "true")
    assert done.returncode == 0 and len(list((recipe / "exp").glob("ssl_*.old.*"))) == 1


def test_pretraining_on_another_set_needs_its_audio_only(supernet, recipe):
    options = ("--use_ssl", "true", "--ssl_train_sets", "untold")
    options += ("--stage", "6", "--stop_stage", "7")
    done, _ = supernet(*options)
    assert done.returncode == 1 and "dump/audio/untold/wav.scp is missing" in done.stderr
    (recipe / "dump/audio/untold").mkdir(parents=True)
    (recipe / "dump/audio/untold/wav.scp").write_text("a x\n")
    done, commands = supernet(*options)
    assert done.returncode == 0, done.stderr
    training = commands.of("ssl_train")[-1]
    assert "dump/audio/untold/wav.scp,speech,sound" in training
    assert "dump/raw/dev/wav.scp,speech,sound" in training


def test_pretraining_alone_needs_no_labelled_set(supernet, recipe, stages):
    for name in ("a+b", "dev"):
        (recipe / "dump/audio" / name).mkdir(parents=True)
        (recipe / "dump/audio" / name / "wav.scp").write_text("u x\n")
    sets = ("--train_set", "", "--test_sets", "", "--ssl_train_sets", "a b")
    done, commands = supernet("--skip_data_prep", "true", *sets)
    assert done.returncode == 0, done.stderr
    assert stages(done) == [6, 7]
    training = commands.of("ssl_train")[-1]
    for name in ("a+b", "dev"):
        assert f"dump/audio/{name}/wav.scp,speech,sound" in training
    assert "--output_dir exp/ssl_train_ssl_raw_a+b" in training


def test_few_labels_have_names_of_their_own(supernet, recipe):
    few = ("--label_fraction", "0.1", "--ssl_exp", "exp/ssl_mine")
    for file in ("dump/raw/train_labels0.1/wav.scp", "dump/raw/train_labels0.1/text"):
        (recipe / file).parent.mkdir(exist_ok=True)
        (recipe / file).write_text("u x\n")
    tokens = recipe / "data/en_token_list/char_labels0.1/tokens.txt"
    tokens.parent.mkdir()
    tokens.write_text("<blank>\n<unk>\na\n<sos/eos>\n")
    (recipe / "exp/ssl_mine").mkdir(parents=True)
    (recipe / "exp/ssl_mine/valid.loss.ave.pth").touch()
    done, commands = supernet(*TRAINED, *few, "--stop_stage", "9")
    assert done.returncode == 0, done.stderr
    training = commands.of("asr_train")[-1]
    assert "dump/raw/train_labels0.1/text,text,text" in training
    out = "exp/asr_train_raw_en_char_labels0.1_from_ssl_mine_masks_reset"
    assert f"--output_dir {out}" in training


def test_a_given_pretraining_must_be_there(supernet, recipe):
    options = (*TRAINED, "--stop_stage", "9", "--ssl_exp", "exp/ssl_mine")
    done, commands = supernet(*options)
    assert done.returncode == 1 and not commands.of("ssl_train")
    assert "exp/ssl_mine/valid.*.ave.pth is missing: run stage 7 first" in done.stderr
    (recipe / "exp/ssl_mine").mkdir()
    (recipe / "exp/ssl_mine/5epoch.pth").touch()
    done, commands = supernet(*options, "--ssl_model", "5epoch.pth")
    assert "--ssl_model_file exp/ssl_mine/5epoch.pth --ssl_masks reset" in commands[-1]
    done, _ = supernet("--ssl_masks", "keep")
    assert done.returncode == 2 and "--ssl_masks must be reset, carry or freeze" in done.stderr


def test_what_is_missing_is_told_with_what_to_do(supernet):
    for number, option, message in (
        (6, ("--ssl_train_sets", "train other"), "dump/audio/train+other/wav.scp is missing: run"),
        (7, ("--ssl_config", "conf/no.yaml"), "conf/no.yaml is missing: choose another --ssl_con"),
        (7, ("--ssl_train_sets", "other"), "ssl_stats_raw_other/.done is missing: run stage 6"),
    ):
        stage = ("--stage", str(number), "--stop_stage", str(number))
        done, commands = supernet(*stage, "--use_ssl", "true", *option)
        assert done.returncode == 1 and not commands and message in done.stderr
