"""Streaming recognition: samples in, growing text out, with a state that does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from espnet2_supernet.decode.text import TextDecoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.result import StreamingResult
from espnet2_supernet.runtime.samples import check_samples
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis
from espnet2_supernet.runtime.search.interfaces import Search
from espnet2_supernet.supernet.context import Context

MAX_PIECE_SECONDS = 10.0  # longer pieces are split, so that their activations stay bounded


def as_samples(speech: torch.Tensor | np.ndarray, where: str = "speech") -> torch.Tensor:
    """Check a waveform and return it as a float32 tensor ``(N,)`` on the CPU.

    Args:
        speech: Float samples in [-1, 1]; N may be 0.
        where: Name for error messages.

    Raises:
        DataError: If it is not one-dimensional, not floating point, or holds NaN or infinity.
    """
    if isinstance(speech, torch.Tensor):
        speech = speech.detach().cpu()
        # numpy knows no bfloat16
        speech = (speech.float() if speech.is_floating_point() else speech).numpy()
    return torch.from_numpy(check_samples(speech, where))


class StreamingSession:
    """Recognises one stream at a time.

    The state is the front-end's rest of a window, the encoder's left context, and the living
    beams; only the transcript itself grows (12 bytes per token). Make sessions with
    :meth:`Speech2Text.stream`; sessions of one model may be used in turn.

    Args:
        model: A ``SupernetASRModel`` in eval mode.
        subnet: Name of a streaming subnet.
        context: Its context.
        search: Search to run.
        to_search: Encoder outputs ``(n, D)`` to what the search reads.
        decoder: Token ids to text.
        frame_ms: Duration of an encoder frame.
        on_frames: Called with every new piece of encoder output ``(n, D)``.

    Raises:
        ConfigError: If the subnet has full context, or the normalisation needs the whole
            utterance.
    """

    def __init__(
        self,
        model: Any,
        subnet: str,
        context: Context,
        search: Search,
        to_search: Callable[[torch.Tensor], torch.Tensor | np.ndarray],
        decoder: TextDecoder,
        frame_ms: float,
        on_frames: Callable[[torch.Tensor], None] | None = None,
    ) -> None:
        """Check that the model can stream and start."""
        if context.is_full:
            raise ConfigError(
                f"subnet '{subnet}' has full context and cannot stream: decode whole utterances, "
                "or take a subnet with a chunk_size"
            )
        check_frame_wise(model)
        self.model = model
        self.subnet = subnet
        self.context = context
        self.search = search
        self.frame_ms = frame_ms
        self._to_search = to_search
        self._decoder = decoder
        self._on_frames = on_frames
        self._device = next(model.parameters()).device
        self._max_piece = int(MAX_PIECE_SECONDS * model.frontend.fs)
        self.reset()

    def reset(self) -> None:
        """Forget everything and be ready for another stream."""
        with torch.no_grad(), self.model.supernet.active_subnet(self.subnet):
            self._frontend = self.model.frontend.streaming()
            self._encoder_state = self.model.start_stream(self.subnet, self.context)
            self._search_state = self.search.init_state()
        self.num_samples = 0
        self._finished = False

    def accept(self, samples: torch.Tensor | np.ndarray) -> StreamingResult:
        """Take the next samples.

        Args:
            samples: Float samples ``(n,)`` at the model's rate; any n, 0 and 1 included.

        Returns:
            What has been recognised so far.

        Raises:
            DataError: If the samples are bad; the session can go on without them.
            RuntimeError: If the stream was already finished.
        """
        if self._finished:
            raise RuntimeError("the stream is finished; call reset() before accept()")
        wave = as_samples(samples)
        with torch.no_grad(), self.model.supernet.active_subnet(self.subnet):
            for piece in wave.split(self._max_piece):
                if piece.numel():
                    self._advance(self._frontend.accept(piece.to(self._device)), False)
        self.num_samples += wave.numel()
        return self._result()

    def finish(self) -> StreamingResult:
        """End the stream: decode what is left and return the final result (repeatable)."""
        if not self._finished:
            with torch.no_grad(), self.model.supernet.active_subnet(self.subnet):
                self._advance(self._frontend.finish(), True)
            self._finished = True
        return self._result()

    def nbest(self, count: int = 1) -> list[SearchHypothesis]:
        """Return up to ``count`` hypotheses of the stream so far, best first."""
        return self.search.nbest(self._search_state, count)

    def _advance(self, feats: torch.Tensor, is_final: bool) -> None:
        """Push features ``(n, F)`` through encoder and search."""
        if not len(feats) and not is_final:
            return
        batch = feats[None].clone()  # ESPnet's normalisation works in place
        if self.model.normalize is not None and len(feats):
            lengths = torch.tensor([len(feats)], device=feats.device)
            batch, _ = self.model.normalize(batch, lengths)
        encoded, self._encoder_state = self.model.encoder.stream(
            batch, self._encoder_state, is_final=is_final
        )
        frames = encoded[0]
        if len(frames):
            if self._on_frames is not None:
                self._on_frames(frames)
            times = self._encoder_state.times
            self.search.advance(
                self._search_state,
                self._to_search(frames),
                None if times is None else times[0].tolist(),
            )

    def _result(self) -> StreamingResult:
        state = self._search_state
        return StreamingResult(
            state.transcript,
            self.search.pending(state),
            self._decoder,
            self.frame_ms,
            self._finished,
        )


def check_frame_wise(model: Any) -> None:
    """Refuse models whose features cannot be computed frame by frame.

    Raises:
        ConfigError: Naming the part and what to use instead.
    """
    from espnet2.layers.global_mvn import GlobalMVN

    if not hasattr(model.frontend, "streaming"):
        raise ConfigError(
            f"front-end {type(model.frontend).__name__} cannot stream; train with "
            "frontend: log_mel or waveform_conv"
        )
    if model.normalize is not None and not isinstance(model.normalize, GlobalMVN):
        raise ConfigError(
            f"normalisation {type(model.normalize).__name__} needs the whole utterance; "
            "train with normalize: global_mvn"
        )
