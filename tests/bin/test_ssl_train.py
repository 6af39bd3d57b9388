"""The command that pre-trains: from configuration to checkpoints, without any text."""

import numpy as np
import pytest
import torch
import yaml

from espnet2_supernet.bin import ssl_train
from espnet2_supernet.errors import ConfigError, DataError, SupernetError
from espnet2_supernet.tasks.cropping import CropCollateFn
from espnet2_supernet.tasks.ssl import SupernetSSLTask


def run(tiny_corpus, tmp_path, *more, **changes):
    config = tiny_corpus.write_ssl_config(tmp_path / "train_ssl.yaml", **changes)
    ssl_train.main(["--config", str(config), "--output_dir", str(tmp_path / "exp"), *more])
    return tmp_path / "exp"


def test_checkpoints_and_log_are_as_in_recognition(pretrained):
    names = {path.name for path in pretrained.iterdir()}
    assert {"config.yaml", "checkpoint.pth", "4epoch.pth", "valid.loss.ave.pth"} <= names
    assert (pretrained / "images/training.png").read_bytes().startswith(b"\x89PNG")
    assert {"subnets.json", "progress.log", "valid.loss.best.pth", "latest.pth"} <= names
    told = (pretrained / "progress.log").read_text().splitlines()
    (last,) = (line for line in told if line.startswith("epoch 4/4"))
    assert "accuracy" in last and "code perplexity" in last and "sparsity device 50.0 %" in last
    # the corpus is white noise: without Gumbel noise, one code is the best for all frames
    assert any(line.startswith("warning: codebook 0 has collapsed") for line in told)
    states = torch.load(pretrained / "4epoch.pth", weights_only=True)
    assert int(states["pruner.step"]) == int(states["heads.quantizer.num_updates"]) == 16
    masks = [value for key, value in states.items() if key.endswith("mask_device")]
    assert masks and 0.4 < 1 - torch.cat([m.flatten() for m in masks]).float().mean() < 0.6


def test_a_pretrained_model_is_loaded_strictly(pretrained):
    model, args = SupernetSSLTask.build_model_from_file(model_file=pretrained / "4epoch.pth")
    assert list(model.supernet.subnets) == ["server", "device"]
    assert (
        args.supernet_conf
        == yaml.safe_load((pretrained / "config.yaml").read_text())["supernet_conf"]
    )
    assert float(model.heads.quantizer.temperature) == pytest.approx(2 * 0.95**16)


def test_statistics_are_collected_without_text(tiny_corpus, tmp_path):
    out = run(tiny_corpus, tmp_path, "--collect_stats", "true", normalize_conf={})
    lines = (out / "train/speech_shape").read_text().splitlines()
    assert len(lines) == 8
    stats = np.load(out / "train/feats_stats.npz")
    assert stats["sum"].shape == (8,) and stats["count"] > 8


def test_accuracy_can_choose_the_epoch_and_tensorboard_shows_it(tiny_corpus, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    criterion = [["valid", "accuracy_device", "max"]]
    out = run(
        tiny_corpus, tmp_path, max_epoch=1, best_model_criterion=criterion, use_tensorboard=True
    )
    assert (out / "valid.accuracy_device.ave.pth").exists()
    wanted = {"accuracy_server", "accuracy_device", "code_perplexity_0", "code_perplexity_1"}
    wanted |= {"temperature", "masked", "loss_diversity"}
    for part, more in (("train", set()), ("valid", {"sparsity_device"})):
        events = EventAccumulator(str(out / "tensorboard" / part)).Reload()
        assert wanted | more <= set(events.Tags()["scalars"]), part


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_conf": {"mask_pro": 0.5}}, "model_conf: unknown key 'mask_pro'.*mask_prob"),
        ({"model_conf": {"num_negatives": 0}}, "num_negatives: at least 1"),
        ({"model_conf": {"latent_vars": "many"}}, "check the types of the values"),
        ({"encoder_conf": {"num_block": 2}}, "encoder_conf: unknown key 'num_block'"),
        ({"encoder": "transformer"}, "encoder: unknown key 'transformer'"),
        ({"supernet_conf": {"subnet": {}}}, "supernet_conf: unknown key 'subnet'"),
        ({"collate_fn_conf": {"crop_audio": True}}, "collate_fn_conf: unknown key 'crop_audio'"),
        ({"collate_fn_conf": {"max_sample_size": 0}}, "max_sample_size: samples from 1"),
        ({"best_model_criterion": [["valid", "cer_device", "min"]]}, "unknown key 'cer_device'"),
        ({"normalize": "utterance_mvn", "normalize_conf": {}}, "'device' is streaming"),
        ({"normalize_conf": {"stats_file": "no.npz"}}, "no.npz: no such file"),
        ({"train_shape_file": []}, "train_shape_file: not given"),
        ({"train_data_path_and_name_and_type": []}, "'speech' is missing.*wav.scp,speech,sound$"),
    ],
)
def test_mistakes_are_named(tiny_corpus, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(tiny_corpus, tmp_path, **changes)


def test_a_sound_that_is_not_finite_is_named(tiny_corpus, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (tmp_path / "wav.scp").write_text(f"bad {tmp_path}/nan.wav\n")
    (tmp_path / "speech_shape").write_text("bad 8000\n")
    data = [[str(tmp_path / "wav.scp"), "speech", "sound"]]
    shape = [str(tmp_path / "speech_shape")]
    with pytest.raises((DataError, SupernetError), match="utterance 'bad'.*NaN"):
        run(tiny_corpus, tmp_path, train_data_path_and_name_and_type=data, train_shape_file=shape)


def test_awkward_utterances_do_not_stop_a_pretraining(tiny_corpus, tmp_path):
    """Alone in their batches: silence, a constant, less than a span, less than a chunk."""
    import soundfile

    sounds = {
        "constant": np.full(8000, 0.5),
        "less_than_a_chunk": 0.1 * np.random.default_rng(0).standard_normal(2500),
        "less_than_a_span": np.full(1200, 0.1),
        "silence": np.zeros(8000),
    }
    for key, samples in sounds.items():
        soundfile.write(tmp_path / f"{key}.wav", samples, 16000)
    (tmp_path / "wav.scp").write_text("".join(f"{k} {tmp_path / k}.wav\n" for k in sounds))
    (tmp_path / "speech_shape").write_text("".join(f"{k} {len(v)}\n" for k, v in sounds.items()))
    conf = tiny_corpus.ssl_config()["model_conf"] | {"num_negatives": 1000}
    out = run(
        tiny_corpus,
        tmp_path,
        batch_size=1,
        max_epoch=2,
        model_conf=conf,
        train_data_path_and_name_and_type=[[str(tmp_path / "wav.scp"), "speech", "sound"]],
        train_shape_file=[str(tmp_path / "speech_shape")],
    )
    states = torch.load(out / "2epoch.pth", weights_only=True)
    assert all(value.isfinite().all() for value in states.values() if value.is_floating_point())
    assert int(states["heads.quantizer.num_updates"]) == 8, "every step was made"


def test_long_utterances_are_cropped_in_training():
    data = [("long", {"speech": np.arange(100.0)}), ("short", {"speech": np.arange(5.0)})]
    collate = CropCollateFn(20)
    ids, batch = collate(data)
    assert ids == ["long", "short"] and batch["speech_lengths"].tolist() == [20, 5]
    start = int(batch["speech"][0, 0])
    assert batch["speech"][0].tolist() == list(range(start, start + 20))
    assert int(CropCollateFn(20)(data[:1])[1]["speech"][0, 0]) == start, "whatever the batch"
    starts = set()
    for collate.epoch in range(200):
        starts.add(int(collate(data)[1]["speech"][0, 0]))
    assert min(starts) == 0 and max(starts) == 80 and len(starts) > 60
    assert CropCollateFn()(data)[1]["speech"].shape == (2, 100)
