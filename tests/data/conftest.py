"""Fixtures for the tests of corpus preparation."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

MakeSet = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real speech beside the repository (or at $SUPERNET_SHARED); skips where it is absent."""
    default = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("SUPERNET_SHARED", default)) / "data"
    if not (folder / "an4_train.tar.gz").exists():
        pytest.skip("the shared speech data are not here")
    return folder


def tone(seconds: float, fs: int = 16000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440.0 * np.arange(int(seconds * fs)) / fs)


def write_sphere(path: Path, samples: np.ndarray, fs: int = 16000) -> None:
    """Write 16-bit samples as NIST SPHERE with the fields that AN4 has."""
    fields = (
        f"sample_count -i {len(samples)}",
        "sample_n_bytes -i 2",
        "channel_count -i 1",
        "sample_byte_format -s2 01",
        f"sample_rate -i {fs}",
        "sample_coding -s3 pcm",
        "end_head",
    )
    head = "NIST_1A\n   1024\n" + "\n".join(fields) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode().ljust(1024) + samples.astype("<i2").tobytes())


@pytest.fixture
def sphere() -> Callable[..., None]:
    return write_sphere


@pytest.fixture
def make_set(tmp_path) -> MakeSet:
    """Write a data directory of good WAV files; returns its path."""

    def make(name: str = "data", number: int = 3, text: str = "HELLO WORLD") -> Path:
        folder = tmp_path / name
        (folder / "wav").mkdir(parents=True)
        keys = [f"spk-{i:03d}" for i in range(number)]
        for i, key in enumerate(keys):
            soundfile.write(folder / "wav" / f"{key}.wav", tone(0.2 + 0.1 * i), 16000)
        (folder / "wav.scp").write_text(
            "".join(f"{key} {folder / 'wav' / key}.wav\n" for key in keys)
        )
        (folder / "text").write_text("".join(f"{key} {text}\n" for key in keys))
        (folder / "utt2spk").write_text("".join(f"{key} spk\n" for key in keys))
        return folder

    return make


@pytest.fixture
def bad_audio(tmp_path) -> dict[str, Path]:
    """One file of each kind of bad audio."""
    folder = tmp_path / "bad"
    folder.mkdir()
    paths = {
        name: folder / f"{name}.wav"
        for name in (
            "missing",
            "empty",
            "text",
            "zero_length",
            "rate",
            "stereo",
            "nan",
            "long",
            "truncated",
        )
    }
    paths["empty"].write_bytes(b"")
    paths["text"].write_text("this is no audio\n")
    soundfile.write(paths["zero_length"], np.zeros(0), 16000)
    soundfile.write(paths["rate"], tone(0.5, 8000), 8000)
    soundfile.write(paths["stereo"], np.stack([tone(0.5), -0.5 * tone(0.5)], axis=1), 16000)
    broken = tone(0.5).astype(np.float32)
    broken[100] = np.nan
    soundfile.write(paths["nan"], broken, 16000, subtype="FLOAT")
    soundfile.write(paths["long"], np.zeros(16000 * 130), 16000)
    soundfile.write(paths["truncated"], tone(0.5), 16000)
    whole = paths["truncated"].read_bytes()
    assert struct.unpack("<I", whole[40:44])[0] == 16000
    paths["truncated"].write_bytes(whole[: len(whole) // 2])
    paths["truncated_flac"] = folder / "truncated.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(paths["truncated_flac"], noise, 16000)
    whole = paths["truncated_flac"].read_bytes()
    paths["truncated_flac"].write_bytes(whole[: len(whole) // 2])
    paths["truncated_sphere"] = folder / "truncated.sph"
    write_sphere(paths["truncated_sphere"], np.arange(8000))
    whole = paths["truncated_sphere"].read_bytes()
    paths["truncated_sphere"].write_bytes(whole[: len(whole) // 2])
    return paths
