"""Reading audio with every check a training run relies on, writing it, changing its rate."""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from espnet2_supernet.data.files import atomic_path
from espnet2_supernet.errors import DataError

# Lengths that a WAV header carries when the writer could not seek back (a pipe).
_UNKNOWN_WAV_SIZES = (0, 0x7FFFFFFF - 36, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36)


@dataclass(frozen=True)
class AudioRules:
    """What a good utterance is, and what is mended.

    Attributes:
        fs: Sampling rate in Hz that the model expects; None accepts any.
        resample: Change other rates instead of refusing them.
        channel: ``error`` refuses several channels, ``mix`` averages them, a number picks one.
        max_duration: Longest utterance in seconds; longer ones are refused.
    """

    fs: int | None = 16000
    resample: bool = False
    channel: str = "error"
    max_duration: float = 120.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            DataError: If a value is out of range.
        """
        if (self.fs is not None and self.fs <= 0) or not self.max_duration > 0:
            raise DataError("fs and max_duration must be positive")
        if self.channel not in ("error", "mix") and not self.channel.isdecimal():
            raise DataError(f"channel '{self.channel}': use 'error', 'mix' or a channel number")


@dataclass(frozen=True)
class Audio:
    """A checked utterance.

    Attributes:
        samples: Waveform ``(N,)``, float32.
        fs: Its sampling rate in Hz.
        container: soundfile's name of the file format, e.g. ``FLAC``, ``WAV``, ``NIST``.
        unchanged: Whether ``samples`` is what the file holds (no resampling, one channel).
    """

    samples: np.ndarray
    fs: int
    container: str
    unchanged: bool


def read_audio(path: str | Path, rules: AudioRules) -> Audio:
    """Read an utterance and check it.

    Args:
        path: An audio file that soundfile reads (FLAC, WAV, SPHERE, OGG, ...).
        rules: What is accepted and mended.

    Raises:
        DataError: If the file is missing, empty, unreadable, truncated, too long, of another
            rate or with several channels (unless mended), or holds NaN or infinite samples.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such audio file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    check_complete(path)
    try:
        with soundfile.SoundFile(path) as stream:
            _check_header(path, stream, rules)
            samples = stream.read(dtype="float32", always_2d=True)
            fs, expected, container = stream.samplerate, stream.frames, stream.format
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: unreadable audio ({error.error_string})") from error
    if len(samples) != expected:
        raise DataError(f"{path}: truncated, {len(samples)} of {expected} samples can be read")
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: holds NaN or infinite samples")
    channels = samples.shape[1]
    mono = _to_mono(samples, rules.channel)
    wanted = rules.fs or fs
    return Audio(resample(mono, fs, wanted), wanted, container, channels == 1 and fs == wanted)


def _check_header(path: Path, stream: soundfile.SoundFile, rules: AudioRules) -> None:
    """Check what is known before the samples are read (a day-long file must not be loaded)."""
    if stream.frames <= 0:
        raise DataError(f"{path}: zero length, the file holds no samples")
    duration = stream.frames / stream.samplerate
    if duration > rules.max_duration:
        raise DataError(
            f"{path}: {duration:.1f} s is longer than --max_duration {rules.max_duration:g}"
        )
    if rules.fs is not None and stream.samplerate != rules.fs and not rules.resample:
        raise DataError(
            f"{path}: sampling rate {stream.samplerate} Hz, {rules.fs} expected; "
            "use '--resample true' or another --fs"
        )
    if stream.channels > 1 and rules.channel == "error":
        raise DataError(
            f"{path}: {stream.channels} channels, one expected; use '--channel mix' or a number"
        )
    if rules.channel.isdecimal() and int(rules.channel) >= stream.channels > 1:
        raise DataError(f"{path}: no channel {rules.channel}, the file has {stream.channels}")


def _to_mono(samples: np.ndarray, channel: str) -> np.ndarray:
    """Turn ``(N, C)`` into ``(N,)``."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if channel == "mix":
        return samples.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(samples[:, int(channel)])


def check_complete(path: Path) -> None:
    """Compare the length a WAV or SPHERE header promises with the file's.

    libsndfile reads what is there and says nothing; other formats it checks itself.

    Raises:
        DataError: If samples are missing at the end.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(1024)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            promised = _wav_size(stream)
        elif head.startswith(b"NIST_1A"):
            promised = _sphere_size(head)
        else:
            return
    if promised > size:
        raise DataError(f"{path}: truncated, {size} of {promised} bytes are there")


def _wav_size(stream: BinaryIO) -> int:
    """File size in bytes up to the end of the ``data`` chunk; 0 if the header leaves it open."""
    stream.seek(12)
    while len(header := stream.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            return 0 if length in _UNKNOWN_WAV_SIZES else stream.tell() + length
        stream.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _sphere_size(head: bytes) -> int:
    """File size in bytes that an uncompressed SPHERE header promises; 0 if it cannot be told."""
    lines = head.decode("latin-1").split("\n")
    fields = {parts[0]: parts[-1] for parts in map(str.split, lines[2:]) if len(parts) == 3}
    try:
        if "shorten" in fields.get("sample_coding", ""):
            return 0
        frame = int(fields["sample_n_bytes"]) * int(fields.get("channel_count", "1"))
        return int(lines[1]) + int(fields["sample_count"]) * frame
    except (KeyError, ValueError, IndexError):
        return 0


def write_audio(path: str | Path, samples: np.ndarray, fs: int) -> None:
    """Write 16-bit audio atomically; the suffix (``.flac``, ``.wav``) says the format.

    Args:
        path: The file.
        samples: Waveform ``(N,)`` in [-1, 1); values outside are clipped.
        fs: Sampling rate in Hz.

    Raises:
        OSError: If the disk is full; the old file, if any, stays.
    """
    # Rounded here, not in libsndfile: 16-bit input keeps its values bit for bit.
    integers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(temporary, integers, fs, subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(f"{path}: cannot be written ({error.error_string})") from error


@lru_cache(maxsize=16)
def _lowpass(up: int, down: int) -> np.ndarray:
    """Low-pass filter for a change of rate by ``up / down``: 64 crossings, 100 dB stop band."""
    from scipy.signal import firwin

    factor = max(up, down)
    return firwin(2 * 64 * factor + 1, 0.95 / factor, window=("kaiser", 10.0))


def resample(samples: np.ndarray, fs_in: int, fs_out: int) -> np.ndarray:
    """Change the sampling rate with a polyphase filter.

    Args:
        samples: Waveform ``(N,)``.
        fs_in: Rate of ``samples`` in Hz.
        fs_out: Wanted rate in Hz.

    Returns:
        Waveform ``(ceil(N * fs_out / fs_in),)``, float32.
    """
    from scipy.signal import resample_poly

    if fs_in == fs_out:
        return samples
    divisor = math.gcd(fs_in, fs_out)
    up, down = fs_out // divisor, fs_in // divisor
    wide = samples.astype(np.float64)
    return resample_poly(wide, up, down, window=_lowpass(up, down)).astype(np.float32)
