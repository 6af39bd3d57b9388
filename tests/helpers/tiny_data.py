"""A corpus of noise, and configurations of trainings on it that take seconds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

TOKENS = ["<blank>", "<unk>", "A", "B", "C", "<space>", "<sos/eos>"]
OPTIONS = {
    "token_type": "char",
    "frontend_conf": {"n_mels": 8},
    "normalize": "global_mvn",
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
        config = copy.deepcopy(OPTIONS) | {
            "train_data_path_and_name_and_type": data["train"],
            "valid_data_path_and_name_and_type": data["valid"],
            "train_shape_file": [str(self.root / "train" / "speech_shape")],
            "valid_shape_file": [str(self.root / "valid" / "speech_shape")],
            "token_list": str(self.root / "tokens.txt"),
            "normalize_conf": {"stats_file": str(self.root / "feats_stats.npz")},
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

    def salad_config(self, labels: Path, recogniser: Path, **changes) -> dict:
        """Return a configuration of a detector; ``labels`` has those of each set.

        The recogniser is given by its weights.
        """
        kept = ("batch", "best", "keep", "max_epoch", "num_workers", "optim", "use_")
        kept += ("train_shape", "valid_shape")
        config = {key: value for key, value in self.config().items() if key.startswith(kept)}
        for name in ("train", "valid"):
            config[f"{name}_data_path_and_name_and_type"] = [
                [str(self.root / name / "wav.scp"), "speech", "sound"],
                [str(labels / name / "labels.scp"), "labels", "kaldi_ark"],
            ]
        config |= {
            "asr_model_file": str(recogniser),
            "model_conf": {"channels": 8, "kernel_size": 3},
            "optim_conf": {"lr": 0.01},
            "seed": 3,
        }
        return {**config, **changes}

    def write_ssl_config(self, path: Path, **changes) -> Path:
        """Write :meth:`ssl_config` as YAML."""
        return write_yaml(path, self.ssl_config(**changes))

    def write_encrl_config(self, path: Path, teacher: Path, **changes) -> Path:
        """Write :meth:`encrl_config` as YAML."""
        return write_yaml(path, self.encrl_config(teacher, **changes))

    def write_salad_config(self, path: Path, labels: Path, recogniser: Path, **changes) -> Path:
        """Write :meth:`salad_config` as YAML."""
        return write_yaml(path, self.salad_config(labels, recogniser, **changes))

    def write_config(self, path: Path, **changes) -> Path:
        """Write :meth:`config` as YAML."""
        return write_yaml(path, self.config(**changes))


def write_yaml(path: Path, config: dict) -> Path:
    """Write a configuration, and the folder around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def write_corpus(root: Path) -> TinyCorpus:
    """Write the files of a tiny corpus."""
    import soundfile

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
