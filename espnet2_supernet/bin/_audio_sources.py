"""Where ``supernet-stream`` takes samples from: files, standard input, the microphone.

Each source yields pieces (n,) of float32 samples in [-1, 1] as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from espnet2_supernet.data.audio import check_complete
from espnet2_supernet.errors import ConfigError, DataError

PCM = np.dtype("<i2")
FULL_SCALE = 32768.0


def file_pieces(path: Path, fs: int, size: int) -> Iterator[np.ndarray]:
    """Read an audio file piece by piece, so that a day takes no more memory than a second.

    Args:
        path: WAV, FLAC or another format of libsndfile, one channel.
        fs: Sampling rate of the model in Hz.
        size: Samples of a piece.

    Raises:
        DataError: If the file is missing, unreadable, truncated, or of another rate or several
            channels.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such audio file")
    check_complete(path)
    try:
        with soundfile.SoundFile(path) as stream:
            if stream.samplerate != fs:
                raise DataError(
                    f"{path}: sampling rate {stream.samplerate} Hz, the model wants {fs}; "
                    f"convert it first, e.g. sox {path.name} -r {fs} out.wav"
                )
            if stream.channels != 1:
                raise DataError(f"{path}: {stream.channels} channels, one expected")
            promised, read = stream.frames, 0
            while len(piece := stream.read(size, dtype="float32")):
                read += len(piece)
                yield piece
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: unreadable audio ({error.error_string})") from error
    if read < promised:
        raise DataError(f"{path}: truncated, {read} of {promised} samples can be read")


def pcm_pieces(stream: BinaryIO, size: int) -> Iterator[np.ndarray]:
    """Read raw 16-bit little-endian samples of one channel, as ``arecord -t raw`` writes them.

    Args:
        stream: Binary stream.
        size: Samples of a piece at most; a pipe gives what it has.

    Raises:
        DataError: If it ends within a sample.
    """
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while data := read(size * PCM.itemsize):
        data = rest + data
        whole = len(data) - len(data) % PCM.itemsize
        rest = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], PCM).astype(np.float32) / np.float32(FULL_SCALE)
    if rest:
        raise DataError("standard input: ends within a sample; 16-bit samples are expected")


def microphone_pieces(fs: int, size: int) -> Iterator[np.ndarray]:
    """Listen to the default microphone until interrupted (Ctrl-C).

    Args:
        fs: Sampling rate in Hz.
        size: Samples of a piece.

    Raises:
        ConfigError: If the package ``sounddevice`` or a microphone is missing.
    """
    sounddevice = _sounddevice()
    try:
        with sounddevice.InputStream(samplerate=fs, channels=1, dtype="float32") as stream:
            while True:
                block, _ = stream.read(size)
                yield block[:, 0]
    except sounddevice.PortAudioError as error:
        raise ConfigError(f"--microphone: {error}") from error
    except KeyboardInterrupt:
        return


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without the PortAudio library
        raise ConfigError(
            f"--microphone needs the package sounddevice and the PortAudio library ({error}): "
            "pip install sounddevice; or pipe raw samples in: arecord -t raw -f S16_LE -r 16000 | "
            "supernet-stream BUNDLE -"
        ) from error
    return sounddevice
