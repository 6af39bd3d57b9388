"""Recognisers in PyTorch: the dense reference rows of the report."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from espnet2_supernet.decode.build import build_search
from espnet2_supernet.decode.session import StreamingSession
from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.measure.clock import StageClock, Timed
from espnet2_supernet.measure.engines import EngineInfo, Stream
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis


@dataclass(frozen=True)
class TorchEngine:
    """A subnet in PyTorch, streaming or with full context.

    Attributes:
        speech2text: The recogniser; give it a model without masks, as extraction makes it, or
            the masks are multiplied in at every step.
        info: What the report says about it.
    """

    speech2text: Speech2Text
    info: EngineInfo

    def open(self, clock: StageClock) -> Stream:
        """Start an utterance; see :class:`Engine`."""
        if self.info.is_full:
            return _WholeUtterance(self.speech2text, clock)
        return _Streamed(self.speech2text, clock)

    def text(self, tokens: list[int]) -> str:
        """Return the text of token ids."""
        decoder = self.speech2text.decoder
        return decoder.text(decoder.tokens(tokens)) or ""

    @torch.no_grad()
    def keep_ratio(self, waveforms: Sequence[np.ndarray]) -> float | None:
        """Fraction of the encoder frames of waveforms ``(N,)`` that it computes; None: all."""
        one, model = self.speech2text, self.speech2text.asr_model
        kept = total = 0
        for wave in (w for w in waveforms if w.size and one.subnet in model.rules):
            speech, lengths = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
            feats, lengths = model.extract_features(speech, lengths, not self.info.is_full)
            frames, lengths = model.encoder.subsampled(feats, lengths)
            keep = model.choose_frames(one.subnet, frames, feats, lengths)
            kept += 0 if keep is None else int(keep.sum())
            total += int(lengths.sum())
        return kept / total if total else None


def torch_engine(
    speech2text: Speech2Text,
    label: str,
    engine: str = "torch",
    precision: str = "fp32",
    bytes_on_disk: int | None = None,
    files: str = "state dict of the whole model as PyTorch saves it",
) -> TorchEngine:
    """Describe a recogniser in PyTorch.

    Args:
        speech2text: The recogniser.
        label: Unique name of the row.
        engine: What computes.
        precision: ``fp32`` or ``int8``.
        bytes_on_disk: Size of its files; that of the saved state dict when None.
        files: What these are.
    """
    if bytes_on_disk is None:
        bytes_on_disk = saved_bytes(speech2text.asr_model)
    context = speech2text.context
    info = EngineInfo(
        label,
        speech2text.subnet,
        engine,
        precision,
        context.chunk_size,
        context.left_context,
        context.right_context,
        speech2text.frame_ms,
        speech2text.lookahead_ms,
        speech2text.fs,
        speech2text.options.search,
        speech2text.options.beam_size,
        speech2text.output,
        bytes_on_disk,
        files,
    )
    return TorchEngine(speech2text, info)


def saved_bytes(model: torch.nn.Module) -> int:
    """Return the size of a model's state dict as ``torch.save`` writes it."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell()


class _TimedModel:
    """A model whose front-end and encoder are timed; the rest is the model's."""

    def __init__(self, model: Any, clock: StageClock) -> None:
        self._model = model
        self.frontend = _TimedFrontend(model.frontend, clock)
        self.encoder = Timed(model.encoder, clock, "encoder", ("stream",))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _TimedFrontend:
    """A front-end whose streaming twin is timed."""

    def __init__(self, frontend: Any, clock: StageClock) -> None:
        self._frontend, self._clock = frontend, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frontend, name)

    def streaming(self) -> Timed:
        """Return the streaming twin, timed."""
        twin = self._frontend.streaming()
        return Timed(twin, self._clock, "features", ("accept", "finish"))


class _Streamed:
    """A streaming session with a clock in its parts."""

    def __init__(self, speech2text: Speech2Text, clock: StageClock) -> None:
        model = speech2text.asr_model
        search, to_search = build_search(model, speech2text.subnet, speech2text.options)
        self._session = StreamingSession(
            _TimedModel(model, clock),
            speech2text.subnet,
            speech2text.context,
            Timed(search, clock, "decoder", ("advance",)),
            lambda frames: clock.stage("decoder", to_search, frames),
            speech2text.decoder,
            speech2text.frame_ms,
        )
        self._result: Any = None

    def accept(self, samples: np.ndarray) -> None:
        self._result = self._session.accept(samples)

    def finish(self) -> None:
        self._result = self._session.finish()

    def tokens(self) -> list[int]:
        return [] if self._result is None else self._result.token_int

    def frames(self) -> list[int]:
        return [] if self._result is None else self._result.frames


class _WholeUtterance:
    """Full context: keeps the samples, computes when the utterance ends."""

    def __init__(self, speech2text: Speech2Text, clock: StageClock) -> None:
        self._speech2text, self._clock = speech2text, clock
        self._pieces: list[np.ndarray] = []
        self._found = SearchHypothesis((), (), 0.0)

    def accept(self, samples: np.ndarray) -> None:
        self._pieces.append(samples)

    @torch.no_grad()
    def finish(self) -> None:
        speech = torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *self._pieces]))
        if not speech.numel():
            return
        one, model = self._speech2text, self._speech2text.asr_model
        lengths = torch.tensor([speech.numel()])
        stage = self._clock.stage
        feats, lengths = stage("features", model.extract_features, speech[None], lengths)
        args = (feats, lengths, one.subnet, one.context)
        encoded, _, times = stage("encoder", model.encode_with_times, *args)
        places = None if times is None else times[0].tolist()
        [self._found, *_] = stage("decoder", one.search_frames, encoded[0], places)

    def tokens(self) -> list[int]:
        return list(self._found.tokens)

    def frames(self) -> list[int]:
        return list(self._found.frames)
