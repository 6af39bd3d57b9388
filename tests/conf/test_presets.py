"""The presets build, and have the sizes that they are named for."""

import argparse
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
SSL = sorted(CONF.glob("train_ssl_*.yaml"))
LIGHT = sorted(CONF.glob("train_light*.yaml"))  # sizes: test_light_presets.py
PRESETS = [path for path in sorted(CONF.glob("train_*.yaml")) if path not in [*SSL, *LIGHT]]
RECIPES = sorted(CONF.parent.glob("egs/*/*1/conf/**/train*.yaml"))
OWN = [path for path in RECIPES if not path.is_symlink() and "ssl" not in path.stem]
SSL_OWN = [path for path in RECIPES if not path.is_symlink() and "ssl" in path.stem]
DECODING = sorted(CONF.glob("decode*.yaml"))
MILLIONS = {
    "train_tiny": (0, 0.2),
    "train_small": (4.5, 5.5),
    "train_base": (25, 31),
    "train_finetune_base": (85, 86),
}
FINE_TUNING = {
    "tiny": "train_tiny",
    "small": "train_small",
    "conformer": "train_base",
    "base": "train_finetune_base",
    "base_waveform": "train_finetune_base_waveform",
    "large": "train_finetune_large",
}
# What transformers' Wav2Vec2ForPreTraining has, of BASE and of LARGE.
PUBLISHED = {"base_waveform": 95_044_608, "large": 317_390_592}
ON_META = [f"train_finetune_{size}" for size in PUBLISHED]


def task(path: Path):
    from espnet2_supernet.tasks.asr import SupernetASRTask
    from espnet2_supernet.tasks.encrl import SupernetEncRLTask
    from espnet2_supernet.tasks.ssl import SupernetSSLTask

    if "encrl" in path.stem:
        return SupernetEncRLTask
    return SupernetSSLTask if "ssl" in path.stem else SupernetASRTask


def build(path: Path, vocab_size: int, **changes):
    """Build the model of a training configuration, without the statistics of a corpus."""
    from espnet2_supernet.tasks.asr import SupernetASRTask

    args = read(path) | changes
    tokens = ["<blank>", "<unk>", *map(str, range(vocab_size - 3)), "<sos/eos>"]
    args |= {"token_list": tokens, "normalize": None}
    return SupernetASRTask.build_model(argparse.Namespace(**args))


def read(path: Path) -> dict:
    """Read a training configuration over the defaults; every key must be an option."""
    default, given = task(path).get_default_config(), yaml.safe_load(path.read_text())
    assert set(given) <= set(default)
    return default | given


@pytest.mark.parametrize(
    "path", [path for path in PRESETS if path.stem not in ON_META], ids=lambda p: p.stem
)
def test_preset_has_its_size(path):
    model = build(path, 4097 if "emformer" in path.stem else 500)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if path.stem == "train_emformer_rnnt":
        # torchaudio's README says 76.7 M, of which 62.9 M in the encoder's matrices
        assert round(millions, 1) == 76.7
        counts = model.supernet.counts("device")
        assert round(counts["prunable"] / 1e6, 1) == 62.9
    else:
        low, high = MILLIONS[path.stem]
        assert low < millions < high


@pytest.mark.parametrize("path", SSL, ids=lambda p: p.stem)
def test_pretraining_preset_has_its_size_and_its_fine_tuning(path, monkeypatch):
    """On the meta device, where no weight is allocated, and no mask can be counted."""
    import torch

    from espnet2_supernet.features import log_mel
    from espnet2_supernet.sparsity.linear import MaskedLinear

    monkeypatch.setattr(log_mel, "melscale_fbanks", lambda n, low, high, m, fs: torch.zeros(n, m))
    args = argparse.Namespace(**read(path) | {"normalize": None, "supernet_conf": {}})
    with torch.device("meta"):
        model = task(path).build_model(args)
    size = path.stem.removeprefix("train_ssl_")
    if size in PUBLISHED:
        assert sum(p.numel() for p in model.parameters()) == PUBLISHED[size]
        with torch.device("meta"):
            tuned_model = build(CONF / f"{FINE_TUNING[size]}.yaml", 40, supernet_conf={})
        heads = sum(p.numel() for p in model.heads.parameters())
        ctc = sum(p.numel() for p in tuned_model.ctc.parameters())
        found = sum(p.numel() for p in tuned_model.parameters())
        assert found == PUBLISHED[size] - heads + ctc
    if size == "base":
        # blocks 12 x (4 x 768^2 + 2 x 768 x 3072) and 12 x 13 x 768 of biases and norms, norm,
        # subsampling, heads; wav2vec 2.0 BASE has 95 M with its two kinds of convolutions
        blocks, ends, heads = 84_934_656 + 119_808, 1_536 + 15_360, 839_040
        assert sum(p.numel() for p in model.parameters()) == blocks + ends + heads == 85_910_400
        layers = [layer for layer in model.modules() if isinstance(layer, MaskedLinear)]
        assert sum(layer.weight.numel() for layer in layers) == 84_934_656
    tuned = read(CONF / f"{FINE_TUNING[size]}.yaml")
    for conf in (tuned["encoder_conf"], args.encoder_conf):
        for key in [key for key in conf if key.endswith(("dropout_rate", "layerdrop"))]:
            del conf[key]  # may differ
    for key in ("frontend", "frontend_conf", "normalize", "encoder", "encoder_conf"):
        assert tuned[key] == vars(args)[key] or key == "normalize", key
    assert (
        tuned["supernet_conf"]["subnets"]
        == yaml.safe_load(path.read_text())["supernet_conf"]["subnets"]
    )


@pytest.mark.parametrize("path", SSL_OWN, ids=lambda p: "/".join(p.parts[-5:]))
def test_recognition_can_start_from_the_pretraining_of_its_recipe(path):
    is_control = path.parent.name == "tuning"
    recipe = path.parents[1] if is_control else path.parent
    given, tuned = read(path), read(recipe / "train.yaml")
    task(path).build_model(argparse.Namespace(**given | {"normalize": None}))
    del given["encoder_conf"]["dropout_rate"], tuned["encoder_conf"]["dropout_rate"]  # may differ
    for key in ("frontend", "frontend_conf", "normalize", "encoder", "encoder_conf"):
        assert given[key] == tuned[key], key
    subnets, tuned_subnets = given["supernet_conf"]["subnets"], tuned["supernet_conf"]["subnets"]
    assert subnets.items() <= tuned_subnets.items()
    assert subnets == tuned_subnets or is_control


@pytest.mark.parametrize(
    "path", [*PRESETS, *LIGHT, *SSL, *OWN, *SSL_OWN], ids=lambda p: "/".join(p.parts[-5:])
)
def test_optimizer_and_schedule_build(path):
    import torch
    from espnet2.tasks.abs_task import scheduler_classes

    args = argparse.Namespace(**read(path))
    (optimizer,) = task(path).build_optimizers(args, torch.nn.Linear(2, 2))
    if args.scheduler is not None:
        scheduler_classes[args.scheduler](optimizer, **args.scheduler_conf)
    # one step for each update, neither more nor fewer
    total = {"onecyclelr": "total_steps", "tristagelr": "max_steps"}.get(args.scheduler)
    if total is not None:
        updates = args.max_epoch * args.num_iters_per_epoch // args.accum_grad
        assert args.scheduler_conf[total] == updates


@pytest.mark.parametrize("path", DECODING, ids=lambda p: p.stem)
def test_decoding_config_is_accepted(path):
    from espnet2_supernet.bin._inference_options import parse
    from espnet2_supernet.bin.asr_inference import get_parser

    args = parse(get_parser(), ["--config", str(path)])
    assert args.search == ("beam" if "beam" in path.stem else "greedy")


def test_links_to_presets_point_to_files():
    links = [path for path in CONF.parent.glob("egs/*/supernet1/conf/**/*") if path.is_symlink()]
    assert links
    for link in links:
        assert link.is_file() and link.resolve().parent == CONF, link
        defaults = ("train.yaml", "train_ssl.yaml")  # of a recipe: one of the sizes
        assert link.name == link.resolve().name or link.name in defaults, link


def test_the_controls_of_an4_differ_in_the_table_only():
    folder = CONF.parent / "egs/an4/supernet1/conf"
    joint = yaml.safe_load((folder / "train.yaml").read_text())
    for path in (folder / "tuning").glob("train_dense_*.yaml"):
        control = yaml.safe_load(path.read_text())
        differ = {key for key in joint | control if joint.get(key) != control.get(key)}
        assert differ <= {"supernet_conf", "best_model_criterion"}, path
    joint = yaml.safe_load((folder / "train_ssl.yaml").read_text())
    control = yaml.safe_load((folder / "tuning/train_ssl_full.yaml").read_text())
    assert [key for key in joint | control if joint.get(key) != control.get(key)] == [
        "supernet_conf"
    ]


@pytest.mark.parametrize("path", OWN, ids=lambda p: "/".join(p.parts[-5:]))
def test_recipe_config_builds(path):
    model = build(path, 40)
    names = {"server", "device"} | ({"streaming"} if path.stem == "train_probe" else set())
    if path.stem in ("train_early_exit", "train_layer_drop"):
        names |= {"half", "third", "sixth"}
    assert set(model.supernet.subnets) <= names
