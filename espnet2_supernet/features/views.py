"""Which features a subnet may see: some front-ends have others for full context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from espnet2_supernet.supernet.context import Context


def features_for(
    frontend: nn.Module | None, speech: Tensor, speech_lengths: Tensor, streaming: bool
) -> tuple[Tensor, Tensor]:
    """Features as a full-context or as a streaming subnet may see them.

    Args:
        frontend: One of ours or of ESPnet's; None if the features are given.
        speech: Waveforms ``(B, N)``, or features ``(B, T, F)``.
        speech_lengths: Samples of each ``(B,)``.
        streaming: For a streaming subnet.

    Returns:
        Features ``(B, T, F)`` and their lengths ``(B,)``.
    """
    speech = speech[:, : int(speech_lengths.max())]
    if frontend is None:
        return speech, speech_lengths
    if streaming and getattr(frontend, "sees_utterance", False):
        return frontend(speech, speech_lengths, streaming=True)
    return frontend(speech, speech_lengths)


def normalized_features(
    frontend: nn.Module | None,
    normalize: nn.Module | None,
    speech: Tensor,
    speech_lengths: Tensor,
    streaming: bool,
) -> tuple[Tensor, Tensor]:
    """What :func:`features_for` returns, normalised if there is a normalisation."""
    feats, lengths = features_for(frontend, speech, speech_lengths, streaming)
    return (feats, lengths) if normalize is None else normalize(feats, lengths)


def feature_views(frontend: nn.Module | None, contexts: Iterable[Context]) -> list[bool]:
    """The kinds of features that the subnets of a step need.

    Args:
        frontend: One of ours or of ESPnet's.
        contexts: Contexts of the subnets.

    Returns:
        Values of ``streaming`` for :func:`features_for`, full context first; only one, unless
        the front-end tells whole utterances and streams apart.

    Example:
        >>> feature_views(nn.Identity(), [Context(), Context(chunk_size=4)])
        [False]
    """
    if not getattr(frontend, "sees_utterance", False):
        return [False]
    return sorted({not context.is_full for context in contexts})


def stack_views(
    compute: Callable[[bool], tuple[Tensor, Tensor]], views: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Compute every view with the same random draws (SpecAugment), and stack the batches.

    Args:
        compute: ``streaming`` to features ``(B, T, F)`` and their lengths ``(B,)``.
        views: Result of :func:`feature_views`.

    Returns:
        Features ``(V * B, T, F)``, view after view, and the lengths ``(B,)``, which are the same.
    """
    found = []
    # only this process's device: torch warns when it has to save the states of all
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    for streaming in views[:-1]:
        with torch.random.fork_rng(devices):
            found.append(compute(streaming))
    found.append(compute(views[-1]))
    feats, lengths = found[0]
    return feats if len(found) == 1 else torch.cat([one for one, _ in found]), lengths


def view_of(stacked: Tensor, views: Sequence[bool], context: Context) -> Tensor:
    """What a subnet of this context sees of ``(V * B, ...)``: ``(B, ...)``."""
    place = views.index(not context.is_full) if len(views) > 1 else 0
    return stacked.unflatten(0, (len(views), -1))[place]


def counted_features(
    frontend: nn.Module | None, speech: Tensor, speech_lengths: Tensor
) -> dict[str, Tensor]:
    """What ``--collect_stats`` counts; arguments as for :func:`features_for`.

    Learnt features change, so that nothing can be normalised by their statistics: the samples
    stand in for them, which costs nothing.
    """
    feats, lengths = speech, speech_lengths
    if not getattr(frontend, "learned", False):
        feats, lengths = features_for(frontend, speech, speech_lengths, False)
    return {"feats": feats, "feats_lengths": lengths}
