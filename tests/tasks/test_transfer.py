"""A recogniser that starts from a pre-trained encoder."""

import re
import shutil

import pytest
import torch

from espnet2_supernet.bin import asr_train
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.supernet.config import SupernetConfig
from espnet2_supernet.tasks import transfer
from espnet2_supernet.tasks.asr import SupernetASRTask

CONSTANT = {"kind": "constant", "begin": 0.0, "end": 0.5, "update_every": 2}


def options(tiny_corpus, pretrained, tmp_path, masks="reset", schedule=None, **changes):
    changes |= {"ssl_model_file": str(pretrained / "4epoch.pth"), "ssl_masks": masks}
    if schedule is not None:
        conf = tiny_corpus.config()["supernet_conf"] | {"schedule": schedule}
        changes["supernet_conf"] = conf
    path = tiny_corpus.write_config(tmp_path / "train.yaml", **changes)
    return ["--config", str(path), "--output_dir", str(tmp_path / "exp"), "--resume", "true"]


def parse(cmd):
    return SupernetASRTask.get_parser().parse_args(cmd)


def masks_of(states):
    return {key: value for key, value in states.items() if value.dtype == torch.bool}


@pytest.mark.parametrize(("masks", "schedule"), [("reset", None), ("carry", CONSTANT)])
def test_encoder_and_normalisation_are_taken_over(
    tiny_corpus, pretrained, tmp_path, masks, schedule, caplog
):
    caplog.set_level("INFO")
    args = parse(options(tiny_corpus, pretrained, tmp_path, masks, schedule))
    transfer.check_pretraining(args, SupernetASRTask.class_choices_list)
    model = SupernetASRTask.build_model(args)
    head = model.ctc.ctc_lo.weight.clone()
    SupernetASRTask.build_optimizers(args, model)
    (told,) = re.findall("dropped (.*)", caplog.text)
    assert told == "heads, num_batches, pruner" + (", the masks" if masks == "reset" else "")
    before = torch.load(pretrained / "4epoch.pth", weights_only=True)
    after = model.state_dict()
    shared = [key for key in after if key.startswith(("encoder.", "normalize."))]
    for key in shared:
        if after[key].dtype == torch.bool and masks == "reset":
            assert after[key].all()
        else:
            assert torch.equal(after[key].to(before[key]), before[key]), key
    assert len(shared) > 20 and "normalize.mean" in shared and masks_of(before)
    assert torch.equal(model.ctc.ctc_lo.weight, head) and int(model.pruner.step) == 0


def test_upper_blocks_can_begin_anew(tiny_corpus, pretrained, tmp_path, caplog):
    caplog.set_level("INFO")
    args = parse([*options(tiny_corpus, pretrained, tmp_path), "--ssl_blocks", "1"])
    transfer.check_pretraining(args, SupernetASRTask.class_choices_list)
    model = SupernetASRTask.build_model(args)
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    SupernetASRTask.build_optimizers(args, model)
    before = torch.load(pretrained / "4epoch.pth", weights_only=True)
    after = model.state_dict()
    weights = [
        key for key in after if key.startswith("encoder.") and after[key].is_floating_point()
    ]
    upper = [key for key in weights if key.startswith("encoder.blocks.1.")]
    assert 0 < len(upper) < len(weights)
    for key in weights:
        assert torch.equal(after[key], (fresh if key in upper else before)[key]), key
    assert "the blocks above the first 1" in caplog.text


@pytest.mark.parametrize("number", ["0", "3"])
def test_no_more_blocks_than_there_are(tiny_corpus, pretrained, tmp_path, number):
    args = parse([*options(tiny_corpus, pretrained, tmp_path), "--ssl_blocks", number])
    model = SupernetASRTask.build_model(args)
    with pytest.raises(ConfigError, match=f"ssl_blocks: the encoder has 2 blocks, got {number}"):
        transfer.take_over(args, model)


def test_masks_of_new_blocks_cannot_be_kept(tiny_corpus, pretrained, tmp_path):
    cmd = options(tiny_corpus, pretrained, tmp_path, "freeze")
    args = parse([*cmd, "--ssl_blocks", "1"])
    with pytest.raises(ConfigError, match="ssl_blocks: 1 starts some anew: use ssl_masks: reset"):
        transfer.check_pretraining(args, SupernetASRTask.class_choices_list)


def test_frozen_masks_stay_and_the_training_resumes(tiny_corpus, pretrained, tmp_path):
    folder = tmp_path / "ssl"
    shutil.copytree(pretrained, folder, symlinks=True)
    cmd = options(tiny_corpus, folder, tmp_path, "freeze", max_epoch=1)
    asr_train.main(cmd)
    shutil.rmtree(folder)  # a training that is resumed does not need it
    asr_train.main([*cmd, "--max_epoch", "2"])
    before = masks_of(torch.load(pretrained / "4epoch.pth", weights_only=True))
    after = torch.load(tmp_path / "exp/2epoch.pth", weights_only=True)
    assert all(torch.equal(after[key], mask) for key, mask in before.items())
    # the schedule was at its end (step 2 of 4) when the training began
    assert int(after["pruner.step"]) == 2 + 8
    told = (tmp_path / "exp/progress.log").read_text()
    assert "sparsity device 50.0 %" in told and "warning" not in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"frontend_conf": {"n_mels": 10}, "encoder_conf": {"num_blocks": 3}},
            r"encoder_conf.attention_heads was 2, is 4.*encoder_conf.num_blocks was 2, is 3"
            r".*frontend_conf.n_mels was 8, is 10|frontend_conf.n_mels was 8, is 10"
            r".*encoder_conf.num_blocks was 2, is 3",
        ),
        ({"encoder": "supernet_transformer"}, "encoder was supernet_conformer, is supernet_tr"),
        ({"normalize": None}, "normalize was global_mvn, is None"),
        ({"schedule": CONSTANT, "masks": "carry", "sparsity": 0.7},
         r"subnets\.device\.mask\.sparsity was 0.5, is 0.7"),
        ({"layer_norm": "per_subnet"}, "supernet_conf.layer_norm was shared, is per_subnet"),
    ],
)  # fmt: skip
def test_differences_are_named(tiny_corpus, pretrained, tmp_path, changes, message):
    conf = tiny_corpus.config()["supernet_conf"]
    own = {key: changes.pop(key) for key in ("masks", "schedule", "sparsity", "layer_norm")
           if key in changes}  # fmt: skip
    conf["subnets"]["device"]["mask"]["sparsity"] = own.get("sparsity", 0.5)
    conf |= {key: own[key] for key in ("schedule", "layer_norm") if key in own}
    masks = own.get("masks", "reset")
    cmd = options(tiny_corpus, pretrained, tmp_path, masks, supernet_conf=conf, **changes)
    with pytest.raises(CheckpointError, match=message):
        transfer.check_pretraining(parse(cmd), SupernetASRTask.class_choices_list)


def test_dropout_and_default_values_may_differ(tiny_corpus, pretrained, tmp_path):
    changes = {"dropout_rate": 0.3, "layerdrop": 0.1, "subsampling": "conv2d"}
    encoder = tiny_corpus.config()["encoder_conf"] | changes
    cmd = options(tiny_corpus, pretrained, tmp_path, encoder_conf=encoder)
    transfer.check_pretraining(parse(cmd), SupernetASRTask.class_choices_list)


def test_a_schedule_that_would_undo_the_masks_is_refused(tiny_corpus, pretrained, tmp_path):
    def check(masks, schedule):
        args = parse(options(tiny_corpus, pretrained, tmp_path, masks, schedule))
        transfer.check_pretraining(args, SupernetASRTask.class_choices_list)

    cubic = {"kind": "cubic", "begin": 0.1, "end": 0.5}
    with pytest.raises(ConfigError, match="ssl_masks: carry keeps the sparsity.*constant"):
        check("carry", cubic)
    check("carry", cubic | {"initial": 1.0})
    table = {"device": {"mask": {"pattern": "elementwise", "sparsity": 0.5}}}
    gates = SupernetConfig.parse({"subnets": table, "schedule": {"kind": "l0"}})
    with pytest.raises(ConfigError, match="schedule l0 starts from open gates"):
        transfer._check_schedule(gates, "carry")
    with pytest.raises(ConfigError, match="ssl_masks: freeze contradicts"):
        check("freeze", cubic | {"freeze": False})


def test_files_that_are_no_pretraining_are_named(tiny_corpus, pretrained, tmp_path):
    args = parse(options(tiny_corpus, pretrained, tmp_path, "freeze"))
    model = SupernetASRTask.build_model(args)
    states = torch.load(pretrained / "4epoch.pth", weights_only=True)
    args.ssl_model_file = str(tmp_path / "changed.pth")
    with pytest.raises(CheckpointError, match="changed.pth: no such file; run ssl_train first"):
        transfer.check_pretraining(args, SupernetASRTask.class_choices_list)
    dense = {k: torch.ones_like(v) if v.dtype == torch.bool else v for k, v in states.items()}
    for changed, message in (
        (model.state_dict(), "'ctc.ctc_lo.weight' does not belong to a pre-trained model"),
        ({k: v for k, v in states.items() if k != "encoder.norm.weight"}, "1 missing keys"),
        (dense, "mask 'device' has sparsity 0.000, 0.5 is wanted"),
    ):
        torch.save(changed, args.ssl_model_file)
        with pytest.raises(CheckpointError, match=message):
            transfer.take_over(args, model)
