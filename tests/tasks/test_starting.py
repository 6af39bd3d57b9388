"""A recogniser that starts from some blocks of a larger one."""

import shutil

import pytest
import torch
import yaml

from espnet2_supernet.bin import asr_train, encrl_train
from espnet2_supernet.encoder import SupernetWav2Vec2Encoder
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.tasks import starting
from espnet2_supernet.tasks.asr import SupernetASRTask


@pytest.fixture(scope="module")
def larger(tiny_corpus, tmp_path_factory):
    """A random model of six blocks, on disk."""
    out = tmp_path_factory.mktemp("larger")
    args = parse(options(tiny_corpus, out, None, num_blocks=6))
    torch.manual_seed(5)
    model = SupernetASRTask.build_model(args)
    with torch.no_grad():
        for layer in model.encoder.blocks:
            layer.feed_forward.linear_in.mask("device")[:] = False
    plain = yaml.safe_load(yaml.safe_dump({k: _plain(v) for k, v in vars(args).items()}))
    (out / "config.yaml").write_text(yaml.safe_dump(plain))
    torch.save(model.state_dict(), out / "model.pth")
    return out


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def options(tiny_corpus, tmp_path, source, num_blocks=2, **changes):
    if source is not None:
        changes["init_model_file"] = str(source / "model.pth")
    conf = {"encoder_conf": tiny_corpus.config()["encoder_conf"] | {"num_blocks": num_blocks}}
    path = tiny_corpus.write_config(tmp_path / "train.yaml", **(conf | changes))
    return ["--config", str(path), "--output_dir", str(tmp_path / "exp"), "--resume", "true"]


def parse(cmd):
    return SupernetASRTask.get_parser().parse_args(cmd)


@pytest.mark.parametrize(
    ("rule", "places"), [("last", [4, 5]), ("first", [0, 1]), ("spread", [2, 5])]
)
def test_blocks_go_where_the_rule_says(tiny_corpus, larger, tmp_path, rule, places):
    args = parse(options(tiny_corpus, tmp_path, larger, init_blocks=rule))
    starting.check_start(args, SupernetASRTask.class_choices_list)
    model = SupernetASRTask.build_model(args)
    SupernetASRTask.build_optimizers(args, model)
    before = torch.load(larger / "model.pth", weights_only=True)
    for key, value in model.state_dict().items():
        if value.dtype == torch.bool:
            assert value.all(), "masks are pruned anew"
        elif key.startswith("encoder.blocks."):
            place, rest = key[len("encoder.blocks.") :].split(".", 1)
            assert torch.equal(value, before[f"encoder.blocks.{places[int(place)]}.{rest}"])
        elif not key.startswith(("pruner.", "num_batches")):
            assert torch.equal(value.to(before[key]), before[key]), key
    assert int(model.pruner.step) == 0


def test_a_model_with_a_mask_of_layers_can_be_the_start(tiny_corpus, tmp_path):
    """Through the files: the mask lies beside the blocks; it is pruned anew."""
    pattern = {"structured": {"kinds": ["layers"], "min_kept": 1}}
    rows = {"server": {"context": "full"}, "few": {"mask": {"pattern": pattern, "sparsity": 0.5}}}
    table = {"supernet_conf": {"subnets": rows, "schedule": {"kind": "one_shot", "begin": 0}}}
    out = tmp_path / "larger"
    config = tiny_corpus.write_config(
        out / "train.yaml", max_epoch=1, **table,
        encoder_conf=tiny_corpus.config()["encoder_conf"] | {"num_blocks": 4},
    )  # fmt: skip
    asr_train.main(["--config", str(config), "--output_dir", str(out)])
    weights = torch.load(out / "1epoch.pth", weights_only=True)
    assert int(weights["encoder.blocks.mask_few"].sum()) == 2
    start = {"init_model_file": str(out / "1epoch.pth")}
    args = parse(options(tiny_corpus, tmp_path, None, **table, **start))
    model = SupernetASRTask.build_model(args)
    SupernetASRTask.build_optimizers(args, model)
    key = "attention.linear_q.weight"
    taken = model.state_dict()[f"encoder.blocks.1.{key}"]
    assert torch.equal(taken, weights[f"encoder.blocks.3.{key}"])
    assert model.encoder.blocks.mask("few").all()


def test_an_rnnt_head_that_is_new_stays_random(tiny_corpus, student, tmp_path, caplog):
    """From representation learning, which has a CTC head only, to a transducer."""
    caplog.set_level("INFO")
    transducer = {"predictor": "stateless", "predictor_conf": {"embed_size": 8}}
    cmd = options(
        tiny_corpus, tmp_path, None, 1, init_model_file=str(student / "valid.loss.ave.pth"),
        model_conf={"ctc_weight": 0.5, "transducer": transducer}, max_epoch=1,
    )  # fmt: skip
    asr_train.main(cmd)
    assert "initialised at random: joint_network, predictor" in caplog.text
    shutil.rmtree(tmp_path / "exp/tensorboard", ignore_errors=True)
    asr_train.main([*cmd, "--max_epoch", "2", "--init_model_file", "gone.pth"])  # resumed


def test_an_rnnt_alone_leaves_the_ctc_head_behind(tiny_corpus, larger, tmp_path, caplog):
    caplog.set_level("INFO")
    transducer = {"predictor": "stateless", "predictor_conf": {"embed_size": 8}}
    conf = {"ctc_weight": 0.0, "transducer": transducer}
    args = parse(options(tiny_corpus, tmp_path, larger, model_conf=conf))
    starting.check_start(args, SupernetASRTask.class_choices_list)
    model = SupernetASRTask.build_model(args)
    SupernetASRTask.build_optimizers(args, model)
    assert model.ctc is None and "initialised at random: joint_network, predictor" in caplog.text
    before = torch.load(larger / "model.pth", weights_only=True)
    key = "attention.linear_q.weight"
    taken = model.state_dict()[f"encoder.blocks.0.{key}"]
    assert torch.equal(taken, before[f"encoder.blocks.4.{key}"])


def test_a_student_can_start_from_its_teacher(tiny_corpus, trained, tmp_path):
    start = str(trained / "valid.loss.ave.pth")
    config = tiny_corpus.write_encrl_config(
        tmp_path / "train.yaml", trained, init_model_file=start, max_epoch=1, optim_conf={"lr": 0.0}
    )
    encrl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp")])
    before = torch.load(start, weights_only=True)
    after = torch.load(tmp_path / "exp/1epoch.pth", weights_only=True)
    key = "attention.linear_q.weight"
    assert torch.equal(after[f"encoder.blocks.0.{key}"], before[f"encoder.blocks.1.{key}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_blocks": 7}, "num_blocks: 7 layers wanted of 6"),
        ({"frontend_conf": {"n_mels": 10}}, "frontend_conf.n_mels was 8, is 10"),
        ({"encoder": "supernet_transformer"}, "encoder was supernet_conformer"),
        ({"token_list": ["<blank>", "<unk>", "A", "B", "D", "<space>", "<sos/eos>"]},
         "token_list: token 4 was 'C', is 'D'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tiny_corpus, larger, tmp_path, changes, message):
    with pytest.raises(CheckpointError, match=message):
        asr_train.main(options(tiny_corpus, tmp_path, larger, **changes))


def test_bad_files_are_named(tiny_corpus, larger, tmp_path):
    with pytest.raises(CheckpointError, match=r"init_model_file: .*no such file"):
        asr_train.main(options(tiny_corpus, tmp_path, tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="starts from one of them"):
        asr_train.main(options(tiny_corpus, tmp_path, larger, ssl_model_file=str(larger / "x")))
    broken = tmp_path / "broken"
    shutil.copytree(larger, broken)
    states = torch.load(broken / "model.pth", weights_only=True)
    states.pop("encoder.blocks.5.norm_out.bias")
    torch.save(states, broken / "model.pth")
    with pytest.raises(CheckpointError, match=r"1 missing keys \(encoder.blocks.1.norm_out.bias"):
        asr_train.main(options(tiny_corpus, tmp_path, broken))
    torch.save({**states, "quantizer.x": torch.ones(1)}, broken / "model.pth")
    with pytest.raises(CheckpointError, match="'quantizer.x' does not belong to a recogniser"):
        asr_train.main(options(tiny_corpus, tmp_path, broken))


def test_positions_come_first_whatever_the_rule():
    def blocks(num):
        return SupernetWav2Vec2Encoder(
            8, 16, 2, 32, num_blocks=num, conv_pos=4, conv_pos_groups=2
        ).blocks

    weights = {f"encoder.blocks.{key}": value for key, value in blocks(4).state_dict().items()}
    names = starting.key_map(weights, blocks(2), "last", "x.pth")
    used = {(old.split(".")[2], new.split(".")[2]) for old, new in names.items()}
    assert used == {("0", "0"), ("3", "1"), ("4", "2")}
