"""A tiny corpus, a trained tiny model and random ones in memory, which many tests share."""

from __future__ import annotations

import functools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also for the processes that tests start

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "<space>", "<sos/eos>"]
STREAM_TOKENS = ["<blank>", "<unk>", "A", "B", "C", "D", "<space>", "<sos/eos>"]
SUBNETS = {
    "server": {"context": "full"},
    "device": {
        "context": {"chunk_size": [4, 8], "left_context": 8, "right_context": 0},
        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
    },
    "ahead": {"context": {"chunk_size": 4, "left_context": 4, "right_context": 2}},
}
TOKEN_RULES = {
    "salad": {"kind": "salad"},
    "compacted": {"kind": "salad", "positions": "compacted"},
    "downsample": {"kind": "downsample"},
    "random": {"kind": "random", "keep_ratio": 0.5},
    "energy": {"kind": "energy", "threshold": -0.5},
}
TRANSDUCERS = {
    "rnn": {
        "predictor": "rnn",
        "predictor_conf": {"embed_size": 8, "hidden_size": 8},
        "joint_space_size": 8,
    },
    "stateless": {
        "predictor": "stateless", "predictor_conf": {"embed_size": 8}, "joint_space_size": 8
    },
}  # fmt: skip


@dataclass(frozen=True)
class TinyCorpus:
    """Noise of 0.4 to 0.7 s with random letters, as ESPnet wants it; 8 + 3 utterances."""

    root: Path

    def config(self, **changes) -> dict:
        """Return a training configuration; ``changes`` override top-level options."""
        data = {
            name: [
                [str(self.root / name / "wav.scp"), "speech", "sound"],
                [str(self.root / name / "text"), "text", "text"],
            ]
            for name in ("train", "valid")
        }
        config = {
            "train_data_path_and_name_and_type": data["train"],
            "valid_data_path_and_name_and_type": data["valid"],
            "train_shape_file": [str(self.root / "train" / "speech_shape")],
            "valid_shape_file": [str(self.root / "valid" / "speech_shape")],
            "token_type": "char",
            "token_list": str(self.root / "tokens.txt"),
            "frontend_conf": {"n_mels": 8},
            "normalize": "global_mvn",
            "normalize_conf": {"stats_file": str(self.root / "feats_stats.npz")},
            "encoder_conf": {
                "output_size": 16,
                "attention_heads": 2,
                "linear_units": 32,
                "num_blocks": 2,
                "cnn_module_kernel": 3,
                "subsampling_channels": 4,
                "dropout_rate": 0.1,
            },
            "supernet_conf": {
                "subnets": {
                    "server": {"context": "full"},
                    "device": {
                        "context": {"chunk_size": [4, 2], "left_context": [4]},
                        "mask": {"pattern": {"block": [4, 1]}, "sparsity": 0.5},
                    },
                },
                "schedule": {"kind": "cubic", "begin": 0.1, "end": 0.6, "update_every": 1},
            },
            "batch_type": "unsorted",
            "batch_size": 2,
            "max_epoch": 4,
            "seed": 7,
            "optim": "adam",
            "optim_conf": {"lr": 0.002},
            "use_matplotlib": False,
            "use_tensorboard": False,
            "num_workers": 0,
            "ngpu": 0,
            "keep_nbest_models": 2,
            "best_model_criterion": [["valid", "loss", "min"]],
        }
        return {**config, **changes}

    def ssl_config(self, **changes) -> dict:
        """Return a configuration of pre-training, with the encoder of :meth:`config`; no text."""
        config = self.config()
        for name in ("train", "valid"):
            del config[f"{name}_data_path_and_name_and_type"][1]
        for name in ("token_type", "token_list"):
            del config[name]
        config |= {
            "encoder": "supernet_conformer",
            "model_conf": {
                "mask_length": 2,
                "num_negatives": 5,
                "final_dim": 8,
                "latent_vars": 8,
                "latent_temp": [2.0, 0.5, 0.95],
            },
        }
        return {**config, **changes}

    def encrl_config(self, teacher: Path, **changes) -> dict:
        """Return a configuration of a student of one block, without text."""
        config = self.config()
        for name in ("train", "valid"):
            del config[f"{name}_data_path_and_name_and_type"][1]
        config |= {
            "encoder_conf": config["encoder_conf"] | {"num_blocks": 1},
            "teacher_model_file": str(teacher / "valid.loss.ave.pth"),
            "batch_size": 3,
        }
        return {**config, **changes}

    def write_ssl_config(self, path: Path, **changes) -> Path:
        """Write :meth:`ssl_config` as YAML."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.ssl_config(**changes), sort_keys=False))
        return path

    def write_encrl_config(self, path: Path, teacher: Path, **changes) -> Path:
        """Write :meth:`encrl_config` as YAML."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.encrl_config(teacher, **changes), sort_keys=False))
        return path

    def write_config(self, path: Path, **changes) -> Path:
        """Write :meth:`config` as YAML."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(self.config(**changes), sort_keys=False))
        return path


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> TinyCorpus:
    import soundfile

    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    (root / "tokens.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    np.savez(root / "feats_stats.npz", count=1, sum=np.zeros(8), sum_square=np.full(8, 4.0))
    for name, size in (("train", 8), ("valid", 3)):
        folder = root / name
        folder.mkdir()
        files = {key: [] for key in ("wav.scp", "text", "speech_shape", "utt2spk")}
        for index in range(size):
            key, samples = f"{name}{index}", int(rng.integers(6400, 11200))
            soundfile.write(folder / f"{key}.wav", 0.1 * rng.standard_normal(samples), 16000)
            files["wav.scp"].append(f"{key} {folder / key}.wav")
            files["text"].append(f"{key} {''.join(rng.choice(list('ABC'), 3))}")
            files["speech_shape"].append(f"{key} {samples}")
            files["utt2spk"].append(f"{key} speaker")
        for file, lines in files.items():
            (folder / file).write_text("\n".join(lines) + "\n")
    return TinyCorpus(root)


@pytest.fixture(scope="session")
def trained(tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a finished training of 4 epochs of 4 updates."""
    import torch

    from espnet2_supernet.bin import asr_train

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("trained") / "exp"
    config = tiny_corpus.write_config(out.parent / "train.yaml")
    asr_train.main(["--config", str(config), "--output_dir", str(out)])
    return out


@pytest.fixture(scope="session")
def pretrained(tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a finished pre-training of 4 epochs of 4 updates."""
    import torch

    from espnet2_supernet.bin import ssl_train

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("pretrained") / "exp"
    config = tiny_corpus.write_ssl_config(out.parent / "train_ssl.yaml")
    ssl_train.main(["--config", str(config), "--output_dir", str(out)])
    return out


@pytest.fixture(scope="session")
def student(tiny_corpus, trained, tmp_path_factory) -> Path:
    """The folder of a student of one block that has copied :func:`trained` for 4 epochs."""
    import torch

    from espnet2_supernet.bin import encrl_train

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("student") / "exp"
    config = tiny_corpus.write_encrl_config(out.parent / "train_encrl.yaml", trained)
    encrl_train.main(["--config", str(config), "--output_dir", str(out)])
    return out


def make_model(
    encoder="conformer",
    ctc_weight=0.5,
    normalize=None,
    subsampling="conv2d",
    predictor="rnn",
    tokens=None,
):
    """Build a tiny model in eval mode with pruned masks and lively outputs."""
    import torch
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import SupernetConformerEncoder, SupernetTransformerEncoder
    from espnet2_supernet.features.log_mel import LogMelFrontend
    from espnet2_supernet.sparsity.linear import MaskedLinear

    torch.set_num_threads(1)
    torch.manual_seed(0)
    subnets = {
        name: {**row, "tokens": TOKEN_RULES[tokens]} if tokens and name != "server" else row
        for name, row in SUBNETS.items()
    }
    kind = {"conformer": SupernetConformerEncoder, "transformer": SupernetTransformerEncoder}
    blocks = kind[encoder](
        12, 16, 2, 32, num_blocks=2, subsampling=subsampling, subsampling_channels=4
    )
    model = SupernetASRModel(
        len(STREAM_TOKENS), STREAM_TOKENS, LogMelFrontend(n_mels=12), None, normalize, None,
        blocks, None, None, CTC(len(STREAM_TOKENS), 16), None, {"subnets": subnets}, ctc_weight,
        TRANSDUCERS[predictor] if ctc_weight < 1 else None,
    )  # fmt: skip
    with torch.no_grad():
        for layer in model.encoder.modules():
            if isinstance(layer, MaskedLinear) and "device" in layer.patterns:
                layer.mask("device")[:, ::2] = False
        if model.ctc is not None:
            model.ctc.ctc_lo.weight.mul_(6.0)
        if model.joint_network is not None:
            model.joint_network.lin_out.weight.mul_(8.0)
            model.joint_network.lin_out.bias[0] += 2.0 if predictor == "rnn" else 0.5
        if model.detector is not None:  # one that keeps about half
            wave = torch.from_numpy(make_speech(4.0, seed=9))[None]
            feats, lengths = model.frontend(wave, torch.tensor([wave.size(1)]))
            model.detector.linear_out.weight.mul_(30.0)
            scores, _ = model.detector(model.encoder.eval().subsampled(feats, lengths)[0])
            model.detector.threshold.fill_(float(scores.median().sigmoid()))
    return model.eval()


def make_speech(seconds, seed=0):
    """Noise whose colour and loudness change, so that the features move."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(int(np.ceil(seconds * 10))):
        noise = rng.standard_normal(1600)
        tone = np.sin(np.arange(1600) * rng.uniform(0.02, 2.5))
        pieces.append(rng.uniform(0.0, 0.3) * noise + rng.uniform(0.0, 0.5) * tone)
    return np.concatenate(pieces)[: int(seconds * 16000)].astype(np.float32)


@pytest.fixture(scope="session")
def tiny_model():
    """Return :func:`make_model`, remembering what it built."""
    return functools.cache(make_model)


@pytest.fixture(scope="session")
def speech():
    """Return :func:`make_speech`."""
    return make_speech
