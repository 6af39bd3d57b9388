"""espeak-ng through ctypes: the library of the PyPI package ``espeakng-loader``, offline.

The library keeps random state (flutter, aspiration noise) in static variables that no call resets,
and draws from the C library's ``rand()``. Each :class:`Synthesiser` therefore loads a private copy
of the library and seeds ``rand()``: the same series of calls gives the same samples, bit for bit.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet2_supernet.errors import DataError

# Names and numbers of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8, _PHONEMES = 0x1, 0x100
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_POS_CHARACTER = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True)
class Prosody:
    """How an utterance is spoken.

    Attributes:
        rate: Words per minute, 80 to 450.
        pitch: Base pitch, 0 to 99.
        pitch_range: Liveliness of the pitch, 0 to 99.
        word_gap: Extra pause between words, in units of 10 ms.
    """

    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0


def load_private_copy(library: str | Path, scratch: str | Path | None = None) -> ctypes.CDLL:
    """Load a shared library anew, with static variables of its own.

    Args:
        library: Path of the library.
        scratch: Folder for the copy if the system's temporary folder forbids execution.

    Raises:
        OSError: If the copy cannot be loaded from either folder.
    """
    folders = [None, scratch] if scratch else [None]
    for folder in folders:
        with tempfile.NamedTemporaryFile(suffix=Path(library).suffix, dir=folder) as copy:
            shutil.copyfile(library, copy.name)
            try:
                return ctypes.CDLL(copy.name)  # stays mapped when the file goes
            except OSError:
                if folder is folders[-1]:
                    raise
    raise AssertionError("unreachable")


class Synthesiser:
    """The espeak-ng library with a random state of its own; use one at a time in a process.

    Attributes:
        fs: Sampling rate of its output in Hz (22050).

    Raises:
        DataError: If the package or its data cannot be used.
    """

    def __init__(self, seed: int = 0, scratch: str | Path | None = None) -> None:
        """Load the library and seed its random numbers.

        Args:
            seed: Not negative.
            scratch: See :func:`load_private_copy`.
        """
        try:
            import espeakng_loader

            self._library = load_private_copy(espeakng_loader.get_library_path(), scratch)
            data_path = espeakng_loader.get_data_path().encode()
        except (ImportError, OSError, RuntimeError) as error:
            raise DataError(
                f"espeak-ng cannot be loaded ({error}); pip install espeakng-loader"
            ) from error
        self._pieces: list[np.ndarray] = []
        # The library calls it during synthesis: it must live as long as this object.
        self._callback = _CALLBACK(self._collect)
        self.fs: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path, 0)
        if self.fs <= 0:
            raise DataError(
                "espeak-ng does not start: its data are incomplete; reinstall espeakng-loader"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        ctypes.CDLL(None).srand(1)
        if hasattr(self._library, "espeak_ng_SetRandSeed"):
            self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
            self._library.espeak_ng_SetRandSeed(seed + 1)

    def _collect(self, samples: ctypes._Pointer, number: int, _events: int) -> int:
        if samples and number > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0

    def say(self, text: str, voice: str, prosody: Prosody) -> np.ndarray:
        """Speak a text.

        Args:
            text: UTF-8 text; ``[[...]]`` holds espeak phonemes.
            voice: Language, optionally with a variant, e.g. ``en-us+f3``.
            prosody: Rate and pitch.

        Returns:
            Waveform ``(N,)``, float32 in [-1, 1), at ``self.fs``.

        Raises:
            DataError: If the voice does not exist or nothing was spoken.
        """
        library = self._library
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise DataError(f"espeak-ng has no voice '{voice}'")
        for parameter, value in (
            (_RATE, prosody.rate),
            (_PITCH, prosody.pitch),
            (_RANGE, prosody.pitch_range),
            (_WORD_GAP, prosody.word_gap),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        self._pieces.clear()
        content = text.encode()
        status = library.espeak_Synth(
            content,
            ctypes.c_size_t(len(content) + 1),
            0,
            _POS_CHARACTER,
            0,
            _CHARS_UTF8 | _PHONEMES,
            None,
            None,
        )
        if status != 0 or not self._pieces:
            raise DataError(f"espeak-ng could not speak '{text}' with voice '{voice}'")
        return np.concatenate(self._pieces).astype(np.float32) / 32768.0
