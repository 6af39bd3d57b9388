"""Forced alignment of transcripts with the full-context CTC head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchaudio.functional

from espnet2_supernet.decode.speech2text import Speech2Text
from espnet2_supernet.errors import DataError
from espnet2_supernet.measure.emission import AlignedToken


def text_to_ids(text: str, args: Any, token_list: Sequence[str]) -> list[int]:
    """Turn a transcript into the token ids that the model was trained on.

    Args:
        text: Words separated by blanks.
        args: Options of the training: ``token_type``, ``bpemodel`` and
            ``non_linguistic_symbols``.
        token_list: All tokens.

    Returns:
        Token ids; ``<unk>`` for what is not in the list.

    Raises:
        DataError: If the tokens cannot be made.
    """
    from espnet2.text.build_tokenizer import build_tokenizer

    try:
        tokenizer = build_tokenizer(
            token_type=args.token_type,
            bpemodel=getattr(args, "bpemodel", None),
            non_linguistic_symbols=getattr(args, "non_linguistic_symbols", None),
        )
        tokens = tokenizer.text2tokens(text)
    except (ValueError, RuntimeError, OSError) as error:
        raise DataError(
            f"transcript '{text[:60]}': cannot be made into tokens ({error})"
        ) from error
    known = {token: index for index, token in enumerate(token_list)}
    return [known.get(token, known.get("<unk>", 0)) for token in tokens]


@torch.no_grad()
def align(speech2text: Speech2Text, samples: np.ndarray, ids: Sequence[int]) -> list[AlignedToken]:
    """Align a transcript with an utterance.

    Viterbi path of CTC (``torchaudio.functional.forced_align``). The span of a token is its run of
    frames on that path; CTC emits short runs, so that a span tells where the model is sure of the
    token rather than how long the sound lasts.

    Args:
        speech2text: Recogniser with full context and a CTC head.
        samples: Waveform ``(N,)``.
        ids: Token ids of the transcript.

    Returns:
        The tokens with their times; empty if the utterance is too short for them.
    """
    model = speech2text.asr_model
    encoded, times = speech2text.encode_with_times(samples)
    repeats = sum(one == other for one, other in zip(ids, ids[1:], strict=False))
    if not ids or len(encoded) < len(ids) + repeats:
        return []
    log_probs = model.ctc_of(speech2text.subnet).log_softmax(encoded[None]).float()
    targets = torch.tensor([list(ids)], dtype=torch.int32)
    path, _ = torchaudio.functional.forced_align(log_probs, targets, blank=model.blank_id)
    return spans(path[0].tolist(), model.blank_id, speech2text.frame_ms, times)


def spans(
    path: Sequence[int], blank_id: int, frame_ms: float, times: Sequence[int] | None = None
) -> list[AlignedToken]:
    """Return the runs of a CTC path that are not blank.

    Args:
        path: Symbol of every encoder frame.
        blank_id: Index of blank.
        frame_ms: One encoder frame in ms.
        times: Numbers of the frames in the utterance, when some were dropped.

    Example:
        >>> spans([0, 3, 3, 0, 3, 5], 0, 40.0)[1]
        AlignedToken(token=3, start=0.16, end=0.2)
    """
    found, start = [], 0
    for frame in range(1, len(path) + 1):
        if frame < len(path) and path[frame] == path[start]:
            continue
        if path[start] != blank_id:
            edges = (start, frame) if times is None else (times[start], times[frame - 1] + 1)
            seconds = (round(at * frame_ms / 1000.0, 6) for at in edges)
            found.append(AlignedToken(path[start], *seconds))
        start = frame
    return found
