"""ESPnet's ``Speech2Text`` contract for supernets, with one more argument: ``subnet``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet2_supernet.decode.build import build_search, choose_output
from espnet2_supernet.decode.lm import FusionLM, load_lm
from espnet2_supernet.decode.loading import fetch_packed, load_model, packed_files
from espnet2_supernet.decode.options import DecodeOptions, merge_context
from espnet2_supernet.decode.results import Result, make_results
from espnet2_supernet.decode.session import StreamingSession, as_samples
from espnet2_supernet.decode.text import TextDecoder
from espnet2_supernet.errors import ConfigError
from espnet2_supernet.runtime.search.hypothesis import SearchHypothesis
from espnet2_supernet.supernet.context import Context


class Speech2Text:
    """Recognise speech with one subnet of a supernet.

    Args:
        asr_train_config: ``config.yaml`` of the training.
        asr_model_file: Weights, e.g. ``valid.loss.ave.pth``.
        subnet: Name of the subnet; default: the first of the table.
        context: Another context than the subnet's first: a ``Context``, ``"full"``, or some of
            ``{chunk_size, left_context, right_context}`` in encoder frames.
        allow_untrained: Accept a context that the subnet was not trained for.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32``, or ``float64`` for CTC.
        lm_train_config: ``config.yaml`` of an ESPnet language model (recurrent).
        lm_file: Its weights.
        token_type: How tokens make text; default: as trained.
        bpemodel: SentencePiece model; not needed to decode.
        **options: See :class:`DecodeOptions`: ``search``, ``beam_size``, ``use``, ``nbest``,
            ``lm_weight``, ``length_bonus``, ``max_symbols``.

    Raises:
        ConfigError: If the subnet does not exist, the context was not trained, or an option has
            no meaning.
        CheckpointError: If a file is missing or does not fit.

    Example:
        >>> speech2text = Speech2Text("exp/asr/config.yaml", "exp/asr/valid.loss.ave.pth",
        ...                           subnet="device")  # doctest: +SKIP
        >>> text, tokens, token_ints, hypothesis = speech2text(speech)[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        asr_train_config: str | Path,
        asr_model_file: str | Path,
        subnet: str | None = None,
        context: Context | Mapping[str, Any] | str | None = None,
        allow_untrained: bool = False,
        device: str = "cpu",
        dtype: str = "float32",
        lm_train_config: str | Path | None = None,
        lm_file: str | Path | None = None,
        token_type: str | None = None,
        bpemodel: str | Path | None = None,
        **options: Any,
    ) -> None:
        """Load the files and choose the subnet."""
        model, args = load_model(asr_train_config, asr_model_file, device)
        self.asr_train_args = args
        token_type = token_type or getattr(args, "token_type", None)
        decoder = TextDecoder(model.token_list, token_type, bpemodel)
        lm = None
        if lm_file is not None or lm_train_config is not None:
            if lm_file is None or lm_train_config is None:
                raise ConfigError("give both lm_train_config and lm_file, or neither")
            lm = load_lm(lm_train_config, lm_file, len(model.token_list), device)
        parsed = DecodeOptions.parse(options)
        self._set_up(model, decoder, subnet, context, allow_untrained, dtype, lm, parsed)

    @classmethod
    def from_model(
        cls,
        model: Any,
        subnet: str | None = None,
        context: Context | Mapping[str, Any] | str | None = None,
        allow_untrained: bool = False,
        dtype: str = "float32",
        lm: FusionLM | None = None,
        token_type: str | None = "char",
        **options: Any,
    ) -> Speech2Text:
        """Wrap a model that is already in memory; arguments as for the class.

        The model itself is used: it is put into eval mode and ``dtype``.
        """
        self = cls.__new__(cls)
        self.asr_train_args = None
        decoder = TextDecoder(model.token_list, token_type)
        parsed = DecodeOptions.parse(options)
        self._set_up(model, decoder, subnet, context, allow_untrained, dtype, lm, parsed)
        return self

    @classmethod
    def from_pretrained(cls, model_tag: str | Path, **options: Any) -> Speech2Text:
        """Load an unpacked model folder.

        Args:
            model_tag: Folder with ESPnet's ``meta.yaml``, or with ``config.yaml`` and one
                ``valid.*.ave.pth``; else a tag for ``espnet_model_zoo``, where installed.
            **options: Arguments of the class.

        Raises:
            CheckpointError: If the folder holds no model, or the tag cannot be fetched.
        """
        folder = Path(model_tag)
        files = packed_files(folder) if folder.is_dir() else fetch_packed(str(model_tag))
        return cls(**{**files, **options})

    def _set_up(
        self,
        model: Any,
        decoder: TextDecoder,
        subnet: str | None,
        context: Context | Mapping[str, Any] | str | None,
        allow_untrained: bool,
        dtype: str,
        lm: FusionLM | None,
        options: DecodeOptions,
    ) -> None:
        """Resolve the subnet and build the search."""
        name = subnet or next(iter(model.supernet.subnets))
        with model.supernet.active_subnet(name) as chosen:  # raises for an unknown name
            wish = merge_context(chosen.context, context)
            self.context: Context = chosen.resolve(wish, allow_untrained)
        if (lm is None) != (options.lm_weight == 0):
            raise ConfigError("a language model and lm_weight > 0 go together; give both or none")
        self.subnet = name
        self.options = options
        self.output = choose_output(model, options.use)
        self.dtype = _dtype(dtype, self.output)
        self.asr_model = model.to(self.dtype).eval()
        self.decoder = decoder
        self.search, self._to_search = build_search(model, name, options, lm)
        self.fs: int = model.frontend.fs
        self.frame_ms = (
            1000.0 * model.frontend.hop_length * model.encoder.subsampling_factor / self.fs
        )
        self.lookahead_ms: float = model.frontend.lookahead_ms

    @torch.no_grad()
    def __call__(self, speech: torch.Tensor | np.ndarray) -> list[Result]:
        """Recognise a whole utterance in one pass; a streaming subnet under its chunk mask.

        Args:
            speech: Float samples ``(N,)`` at the model's rate. A sound shorter than one encoder
                frame, or empty, gives one empty hypothesis of score 0.

        Returns:
            Up to ``nbest`` tuples (text, tokens, token ids, ``Hypothesis``), best first.

        Raises:
            DataError: If the waveform is not one channel of finite float samples.
        """
        return self.results(self.search_frames(*self.encode_with_times(speech)))

    def encode(self, speech: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return the encoder output ``(T', D)`` of a whole utterance; T' may be 0."""
        return self.encode_with_times(speech)[0]

    @torch.no_grad()
    def encode_with_times(
        self, speech: torch.Tensor | np.ndarray
    ) -> tuple[torch.Tensor, list[int] | None]:
        """Return the encoder output ``(T', D)`` of a whole utterance, and what it is of.

        Returns:
            The output, and the numbers of its frames among those of the utterance; None if the
            subnet drops no frames.
        """
        samples = as_samples(speech)
        model = self.asr_model
        if not samples.numel():
            return next(model.parameters()).new_zeros(0, model.encoder.output_size()), None
        samples = samples.to(next(model.parameters()).device)[None]
        lengths = torch.tensor([samples.size(1)], device=samples.device)
        streaming = not self.context.is_full
        feats, feat_lengths = model.extract_features(samples, lengths, streaming)
        encoded, encoded_lengths, times = model.encode_with_times(
            feats.to(self.dtype), feat_lengths, self.subnet, self.context
        )
        length = int(encoded_lengths[0])
        return encoded[0, :length], None if times is None else times[0, :length].tolist()

    @torch.no_grad()
    def search_frames(
        self, frames: torch.Tensor, times: list[int] | None = None
    ) -> list[SearchHypothesis]:
        """Search encoder outputs; return up to ``nbest`` hypotheses.

        Args:
            frames: ``(T', D)``.
            times: Their numbers in the utterance, when some were dropped.
        """
        with self.asr_model.supernet.active_subnet(self.subnet):
            state = self.search.init_state()
            if len(frames):
                self.search.advance(state, self._to_search(frames), times)
            return self.search.nbest(state, self.options.nbest)

    def results(self, found: list[SearchHypothesis]) -> list[Result]:
        """Turn hypotheses of a search into ESPnet's result tuples."""
        return make_results(found, self.decoder, self.frame_ms)

    def stream(self, on_frames: Callable[[torch.Tensor], None] | None = None) -> StreamingSession:
        """Start a streaming session of this subnet: the stateful pass.

        Args:
            on_frames: Called with every new piece of encoder output ``(n, D)``.

        Raises:
            ConfigError: If the subnet has full context or the model cannot stream.
        """
        return StreamingSession(
            self.asr_model,
            self.subnet,
            self.context,
            self.search,
            self._to_search,
            self.decoder,
            self.frame_ms,
            on_frames,
        )


def _dtype(name: str, output: str) -> torch.dtype:
    """Read the precision of the model."""
    if name not in ("float32", "float64"):
        raise ConfigError(f"dtype: '{name}' is not one of float32, float64")
    if name == "float64" and output == "rnnt":
        raise ConfigError("dtype: float64 is for CTC; ESPnet's RNN-T predictor keeps float32")
    return getattr(torch, name)
