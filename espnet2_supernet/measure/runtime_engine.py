"""Bundles in our runtime, without torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_supernet.measure.clock import StageClock, Timed
from espnet2_supernet.measure.engines import EngineInfo, Stream
from espnet2_supernet.measure.rows import RowSpec
from espnet2_supernet.runtime.recognizer import Recognizer


@dataclass(frozen=True)
class RuntimeEngine:
    """A bundle as a row.

    Attributes:
        recognizer: The bundle, loaded.
        info: What the report says about it.
    """

    recognizer: Recognizer
    info: EngineInfo

    def open(self, clock: StageClock) -> Stream:
        """Start an utterance; see :class:`Engine`."""
        return _Streamed(self.recognizer, clock)

    def text(self, tokens: list[int]) -> str:
        """Return the text of token ids."""
        decoder = self.recognizer.decoder
        return decoder.text(decoder.tokens(tokens)) or ""

    def keep_ratio(self, waveforms: Sequence[np.ndarray]) -> float | None:
        """Fraction of the encoder frames of waveforms ``(N,)`` that it computes; None: all."""
        if self.recognizer.description.keep_rule is None:
            return None
        kept = total = 0
        for wave in waveforms:
            session = self.recognizer.stream()
            session.accept(wave)
            session.finish()
            kept += session.num_kept
            total += session.num_frames
        return kept / total if total else None


def runtime_engine(spec: RowSpec) -> RuntimeEngine:
    """Load a bundle.

    Raises:
        CheckpointError: If it is damaged.
        ConfigError: If an option of the search has no meaning.
    """
    folder = Path(spec.folder)
    recognizer = Recognizer.load(folder, allow_untrained=True, **spec.options)
    recognizer.warm_up()
    about, features = recognizer.description, recognizer.description.features
    chunk = recognizer.encoder.chunk_size
    info = EngineInfo(
        f"{spec.prefix}{about.source.subnet} runtime {about.precision} chunk {chunk}",
        about.source.subnet,
        "runtime",
        about.precision,
        chunk,
        about.encoder.left_context,
        recognizer.encoder.right_context,
        recognizer.frame_ms,
        1000.0 * (features.win_length - features.hop_length) / features.fs,
        recognizer.fs,
        recognizer.options.search,
        recognizer.options.beam_size,
        recognizer.output,
        sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "all files of the bundle",
    )
    return RuntimeEngine(recognizer, info)


class _Streamed:
    """A session of the runtime with a clock in its parts."""

    def __init__(self, recognizer: Recognizer, clock: StageClock) -> None:
        timed: Any = copy.copy(recognizer)
        to_search = recognizer.to_search
        timed.log_mel = Timed(recognizer.log_mel, clock, "features", ("frames",))
        timed.encoder = Timed(recognizer.encoder, clock, "encoder", ("stream",))
        timed.search = Timed(recognizer.search, clock, "decoder", ("advance",))
        timed.to_search = lambda frames: clock.stage("decoder", to_search, frames)
        self._session = timed.stream()

    def accept(self, samples: np.ndarray) -> None:
        self._session.accept(samples)

    def finish(self) -> None:
        self._session.finish()

    def tokens(self) -> list[int]:
        return self._session.result().token_int

    def frames(self) -> list[int]:
        return self._session.result().frames
