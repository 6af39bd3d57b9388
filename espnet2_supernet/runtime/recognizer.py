"""A bundle as a recogniser.

recognizer = Recognizer.load("exp/asr/bundle_device")
session = recognizer.stream()
for samples in pieces:               # float32 in [-1, 1], at recognizer.fs
print(session.accept(samples).text)
print(session.finish().text)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.description import Description
from espnet2_supernet.runtime.bundle.folder import Bundle, Weights, read_bundle
from espnet2_supernet.runtime.encoder.dropping import DroppingEncoder, KeptChunkStep
from espnet2_supernet.runtime.encoder.kept_step import KeptEncoderStep
from espnet2_supernet.runtime.encoder.later_step import LaterKeptStep
from espnet2_supernet.runtime.encoder.step import EncoderStep
from espnet2_supernet.runtime.encoder.stream import StreamingEncoder
from espnet2_supernet.runtime.layers.features import GlobalMVN, LogMel
from espnet2_supernet.runtime.layers.keep_rules import make_rule
from espnet2_supernet.runtime.layers.outputs import (
    CTCHead,
    RNNPredictor,
    StatelessPredictor,
    TransducerHead,
)
from espnet2_supernet.runtime.layers.row_matrix import RowMatrix
from espnet2_supernet.runtime.layers.subsampling import Conv2dSubsampling, StackSubsampling
from espnet2_supernet.runtime.result import StreamingResult
from espnet2_supernet.runtime.search.build import choose_output, ctc_search, rnnt_search
from espnet2_supernet.runtime.search.interfaces import Search
from espnet2_supernet.runtime.search.options import SearchOptions
from espnet2_supernet.runtime.session import Session
from espnet2_supernet.runtime.text import TextDecoder, joiner

ENCODER, BLOCKS, SUBSAMPLING = "encoder.", "encoder.blocks.", "encoder.subsampling."
DETECTOR = "detector."


class Recognizer:
    """The weights of a bundle and a search; any number of sessions share them.

    Args:
        bundle: The bundle.
        num_threads: Threads that compute a chunk of the encoder together.
        **options: See :class:`SearchOptions`.

    Raises:
        ConfigError: If an option has no meaning or the bundle lacks the output layer.
        CheckpointError: If weights are missing or do not fit the description.

    Attributes:
        description: What the bundle says about itself.
        fs: Sampling rate in Hz.
        frame_ms: Duration of an encoder frame.
    """

    def __init__(self, bundle: Bundle, num_threads: int = 1, **options: Any) -> None:
        """Build the parts."""
        description = self.description = bundle.description
        self.options = SearchOptions.parse(options)
        has_rnnt = description.predictor is not None
        self.output = choose_output(self.options.use, description.ctc, has_rnnt)
        try:
            weights = _dense(bundle.weights)
            self.log_mel, self.normalize = _features(description, weights)
            self.encoder = _encoder(description, weights, num_threads)
            self.search, self.to_search = self._search(weights)
            self.decoder = _decoder(description)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the bundle's weights do not fit: {error}") from error
        self.fs = description.features.fs
        self.frame_ms = description.frame_ms(self.encoder.subsampling.factor)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        allow_untrained: bool = False,
        num_threads: int = 1,
        **options: Any,
    ) -> Recognizer:
        """Read a bundle; see :func:`read_bundle` for the errors.

        Args:
            folder: The bundle.
            allow_untrained: Accept a subnet that was not trained as it is used here.
            num_threads: Threads that compute a chunk of the encoder together.
            **options: See :class:`SearchOptions`.
        """
        return cls(read_bundle(folder, allow_untrained), num_threads, **options)

    @property
    def algorithmic_latency_ms(self) -> float:
        """How late the first frame of a chunk is known on an infinitely fast machine."""
        features = self.description.features
        frames = self.encoder.chunk_size + self.encoder.right_context
        lookahead = features.win_length - features.hop_length
        return frames * self.frame_ms + 1000.0 * lookahead / self.fs

    def stream(self, on_frames: Callable[[np.ndarray], None] | None = None) -> Session:
        """Start a session.

        Args:
            on_frames: Called with every new piece of encoder output ``(n, D)``.
        """
        return Session(self, on_frames)

    def __call__(self, speech: np.ndarray) -> StreamingResult:
        """Recognise a whole waveform ``(N,)``.

        Raises:
            DataError: If it is not one channel of finite float samples.
        """
        session = self.stream()
        session.accept(speech)
        return session.finish()

    def warm_up(self) -> None:
        """Encode one chunk of silence, so that all kernels are compiled."""
        factor = self.encoder.subsampling.factor
        frames = self.encoder.chunk_size + self.encoder.right_context
        state = self.encoder.init_state()
        self.encoder.stream(np.zeros((factor * frames, self.log_mel.size), np.float32), state)

    def _search(self, weights: Weights) -> tuple[Search, Callable[[np.ndarray], np.ndarray]]:
        """Return the search and the function from encoder frames to what it reads."""
        blank_id = self.description.tokens.blank_id
        if self.output == "ctc":
            return ctc_search(self.options, blank_id), CTCHead(weights)
        head = TransducerHead(_predictor(self.description, weights), weights, blank_id)
        return rnnt_search(self.options, head), lambda frames: frames


def _dense(weights: Weights) -> Weights:
    """Unpack all matrices but those of the encoder's blocks: numpy computes with them."""
    return {
        key: value.to_dense()
        if isinstance(value, BlockMatrix) and not key.startswith(BLOCKS)
        else value
        for key, value in weights.items()
    }


def _features(description: Description, weights: Weights) -> tuple[LogMel, GlobalMVN]:
    settings = description.features
    filters = RowMatrix(weights["features.filters"])
    log_mel = LogMel(weights["features.window"], filters, settings.hop_length)
    sizes = (len(log_mel.window), log_mel.n_fft, log_mel.size)
    if sizes != (settings.win_length, settings.n_fft, settings.n_mels):
        raise ValueError(f"features: window, FFT and mel bands are {sizes}")
    mean = weights["normalize.mean"] if settings.norm_means else None
    std = weights["normalize.std"] if settings.norm_vars else None
    return log_mel, GlobalMVN(mean, std)


def _encoder(description: Description, weights: Weights, num_threads: int) -> StreamingEncoder:
    sizes, features = description.encoder, description.features.n_mels
    subsampling: Conv2dSubsampling | StackSubsampling
    if description.subsampling == "conv2d":
        subsampling = Conv2dSubsampling(_below(weights, SUBSAMPLING), features)
    else:
        subsampling = StackSubsampling(_below(weights, SUBSAMPLING), sizes.size)
    around = ((features, sizes.size), sizes.chunk_size, sizes.right_context)
    blocks, declared = (asdict(sizes), _below(weights, ENCODER)), description.keep_rule
    if declared is None:
        return StreamingEncoder(subsampling, EncoderStep(*blocks, num_threads=num_threads), *around)
    options: Any = {"compacted": declared.positions == "compacted", "num_threads": num_threads}
    step: KeptChunkStep
    if declared.before_block == 1 and declared.restore_before_block is None:
        step = KeptEncoderStep(*blocks, **options)
    else:
        options["restore_before_block"] = declared.restore_before_block
        options["with_change"] = declared.restored == "last_change"
        step = LaterKeptStep(*blocks, before_block=declared.before_block, **options)
    rule = make_rule(declared, _below(weights, DETECTOR))
    return DroppingEncoder(subsampling, step, *around, rule)


def _predictor(description: Description, weights: Weights) -> RNNPredictor | StatelessPredictor:
    predictor = description.predictor
    if predictor is None or predictor.kind == "stateless":
        return StatelessPredictor(weights)
    return RNNPredictor(weights, predictor.rnn_type, predictor.num_layers)


def _decoder(description: Description) -> TextDecoder:
    tokens = description.tokens
    return TextDecoder(tokens.token_list, joiner(tokens.token_type))


def _below(weights: Weights, prefix: str) -> Weights:
    """Select the weights whose names begin with a prefix, and cut it off."""
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
