"""CPU kernels of the RNN-T loss: log-probabilities of the targets, and the lattice.

Import it lazily: loading numba and compiling costs a second or two, and only CPU
training needs it. Kernels are cached on disk (beside this file, else where
``NUMBA_CACHE_DIR`` or numba's user cache points).

Our choices:

* The exponential is a polynomial that LLVM vectorises; numba's ``math.exp`` is one
  scalar call per element and dominated the whole loss.
* Kernels release the GIL and are spread over plain Python threads, as many as
  ``torch.get_num_threads()``. numba's own ``prange`` would start a second OpenMP
  pool beside torch's, aborts in forked processes, and compiles much longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch

_F = np.float32
_I = np.int32
_LOWEST = _F(-87.0)  # exp(-87) is the smallest normal float32: below it counts as zero
_LOG2E = _F(1.0 / math.log(2.0))
_LN2_HIGH = _F(355.0 / 512.0)  # 9 significant bits: k * _LN2_HIGH is exact in float32
_LN2_LOW = _F(math.log(2.0) - 355.0 / 512.0)
_C6, _C5, _C4, _C3 = _F(1 / 720), _F(1 / 120), _F(1 / 24), _F(1 / 6)
_NO_SIGN = _I(0x7FFFFFFF)
_INFINITY = _I(0x7F800000)
_MIN_INT = _I(-0x80000000)
# Smallest share of work worth a thread: below it starting the thread costs more.
_ROWS_PER_THREAD = 2048

# `contract` allows fused multiply-add, `reassoc` a vectorised sum. Never `nnan`/`ninf`:
# a NaN logit must come out as a NaN loss, so that the trainer can skip the step.
_MAP = {"contract"}
_SUM = {"contract", "reassoc", "nsz"}


def _jit(**options: Any) -> Callable[[Callable], Callable]:
    """Compile lazily with an on-disk cache, or without one where no folder is writable."""

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba: "cannot cache function: no locator available"
            return numba.njit(**options)(function)

    return decorate


@_jit(fastmath=_MAP, inline="always")
def _exp(x: np.float32) -> np.float32:
    """Exponential of ``x`` <= 0 to about 2e-7 relative, free of branches and calls."""
    x = x if x > _LOWEST else _LOWEST
    k = _I(x * _LOG2E - _F(0.5))  # truncation of a negative number: round to nearest
    r = (x - _F(k) * _LN2_HIGH) - _F(k) * _LN2_LOW
    p = (((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _F(0.5)
    p = p * r * r + r + _F(1.0)
    return p * _I((k + _I(127)) << _I(23)).view(_F)


@_jit(fastmath=_SUM, nogil=True)
def _log_sum_exp(row: np.ndarray) -> float:
    """Log-sum-exp of one float32 row; NaN if the row holds NaN or +inf, or only -inf."""
    bits = row.view(_I)
    key = _MIN_INT  # integers ordered as the floats: this maximum vectorises, NaN included
    magnitude = _I(0)
    for j in range(row.shape[0]):
        b = bits[j]
        key = max(key, b ^ ((b >> _I(31)) & _NO_SIGN))
        magnitude = max(magnitude, b & _NO_SIGN)
    top = _I(key ^ ((key >> _I(31)) & _NO_SIGN)).view(_F)
    if magnitude > _INFINITY or not np.isfinite(top):
        return np.nan
    total = _F(0.0)
    for j in range(row.shape[0]):
        total += _exp(row[j] - top)
    return np.float64(top) + math.log(np.float64(total))


@_jit(nogil=True)
def _target_log_probs(start, stop, logits, labels, t_lens, u_lens, blank, planes, norm):  # type: ignore[no-untyped-def]
    _, frames, states, _ = logits.shape
    for i in range(start, stop):
        b, t, u = i // (frames * states), i // states % frames, i % states
        if t >= t_lens[b] or u > u_lens[b]:
            continue  # padding: the planes stay zero and the lattice never looks there
        row = logits[b, t, u]
        z = _log_sum_exp(row)
        norm[b, t, u] = z
        planes[b, t, u, 0] = row[blank] - z
        planes[b, t, u, 1] = row[labels[b, u]] - z


@_jit(fastmath=_MAP, nogil=True)
def _target_grad(start, stop, logits, labels, blank, norm, grads, out):  # type: ignore[no-untyped-def]
    _, frames, states, vocab = logits.shape
    for i in range(start, stop):
        b, t, u = i // (frames * states), i // states % frames, i % states
        row, new = logits[b, t, u], out[b, t, u]
        g_blank, g_label = grads[b, t, u, 0], grads[b, t, u, 1]
        if g_blank == 0.0 and g_label == 0.0:
            new[:] = _F(0.0)  # padding, or a cell no likely path crosses; NaN is not equal
            continue
        z, scale = _F(norm[b, t, u]), _F(-(g_blank + g_label))
        for j in range(vocab):
            new[j] = scale * _exp(row[j] - z)
        new[blank] += _F(g_blank)
        new[labels[b, u]] += _F(g_label)


@_jit(nogil=True)
def _log_add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    if b == -np.inf:
        return a
    return a + math.log1p(math.exp(b - a))


@_jit(nogil=True)
def _forward_variables(planes, frames, labels):  # type: ignore[no-untyped-def]
    alpha = np.empty((frames, labels + 1))
    alpha[0, 0] = 0.0
    for u in range(1, labels + 1):
        alpha[0, u] = alpha[0, u - 1] + planes[0, u - 1, 1]
    for t in range(1, frames):
        alpha[t, 0] = alpha[t - 1, 0] + planes[t - 1, 0, 0]
        for u in range(1, labels + 1):
            alpha[t, u] = _log_add(
                alpha[t - 1, u] + planes[t - 1, u, 0], alpha[t, u - 1] + planes[t, u - 1, 1]
            )
    return alpha


@_jit(nogil=True)
def _backward_gradients(planes, alpha, total, grads):  # type: ignore[no-untyped-def]
    """Fill ``grads`` with minus the occupancy of each arc; beta needs one row at a time."""
    frames, states = alpha.shape
    beta = np.full(states, -np.inf)  # of frame t + 1 on entry, of frame t on exit
    for t in range(frames - 1, -1, -1):
        for u in range(states - 1, -1, -1):
            last = t == frames - 1 and u == states - 1
            by_blank = planes[t, u, 0] + (0.0 if last else beta[u])
            grads[t, u, 0] = -math.exp(alpha[t, u] + by_blank - total)
            by_label = -np.inf
            if u < states - 1:
                by_label = planes[t, u, 1] + beta[u + 1]
                grads[t, u, 1] = -math.exp(alpha[t, u] + by_label - total)
            beta[u] = _log_add(by_blank, by_label)


@_jit(nogil=True)
def _lattice(start, stop, planes, t_lens, u_lens, losses, grads, with_grads):  # type: ignore[no-untyped-def]
    for b in range(start, stop):
        frames, labels = t_lens[b], u_lens[b]
        alpha = _forward_variables(planes[b], frames, labels)
        total = alpha[frames - 1, labels] + planes[b, frames - 1, labels, 0]
        losses[b] = -total
        if with_grads:
            _backward_gradients(planes[b], alpha, total, grads[b])


def _spread(kernel: Callable, size: int, per_thread: int, *arguments: Any) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ``range(size)`` in torch's thread count."""
    threads = max(1, min(torch.get_num_threads(), size // per_thread))
    bounds = [size * i // threads for i in range(threads + 1)]
    if threads == 1:
        kernel(0, size, *arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(kernel, lo, hi, *arguments)
            for lo, hi in zip(bounds, bounds[1:], strict=False)
        ]
        for job in jobs:
            job.result()


def target_log_probs(
    logits: torch.Tensor,
    labels: torch.Tensor,
    t_lens: torch.Tensor,
    u_lens: torch.Tensor,
    blank: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of blank and of the next label in each lattice cell.

    Args:
        logits: Contiguous float32 CPU tensor (B, T, U+1, V).
        labels: Next label of each state, int64 (B, U+1); any valid id in the padding.
        t_lens: Frames of each utterance, int64 (B,).
        u_lens: Labels of each utterance, int64 (B,).
        blank: Id of blank.

    Returns:
        The two planes (B, T, U+1, 2) and the log-sum-exp (B, T, U+1), both float64 and
        zero in the padding.
    """
    planes = torch.zeros(*logits.shape[:3], 2, dtype=torch.float64)
    norm = torch.zeros(logits.shape[:3], dtype=torch.float64)
    inputs = [x.numpy() for x in (logits, labels, t_lens, u_lens)]
    outputs = [x.numpy() for x in (planes, norm)]
    _spread(_target_log_probs, norm.numel(), _ROWS_PER_THREAD, *inputs, blank, *outputs)
    return planes, norm


def target_log_probs_backward(
    logits: torch.Tensor,
    labels: torch.Tensor,
    blank: int,
    norm: torch.Tensor,
    grads: torch.Tensor,
) -> torch.Tensor:
    """Gradient of :func:`target_log_probs` with respect to the logits (B, T, U+1, V)."""
    out = torch.empty_like(logits)
    inputs = [logits.numpy(), labels.numpy(), blank, norm.numpy(), grads.contiguous().numpy()]
    _spread(_target_grad, norm.numel(), _ROWS_PER_THREAD, *inputs, out.numpy())
    return out


def lattice(
    planes: torch.Tensor, t_lens: torch.Tensor, u_lens: torch.Tensor, with_grads: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward-backward over the two planes, in float64.

    Args:
        planes: Log-probabilities of blank and label, float64 (B, T, U+1, 2).
        t_lens: Frames of each utterance, int64 (B,).
        u_lens: Labels of each utterance, int64 (B,).
        with_grads: Also compute the gradients.

    Returns:
        Losses (B,) and their gradients with respect to the planes (B, T, U+1, 2).
    """
    planes = planes.detach().contiguous()
    losses = torch.empty(len(planes), dtype=torch.float64)
    grads = torch.zeros_like(planes) if with_grads else torch.empty(len(planes), 0, 0, 2).double()
    inputs = [x.numpy() for x in (planes, t_lens, u_lens)]
    _spread(_lattice, len(planes), 1, *inputs, losses.numpy(), grads.numpy(), with_grads)
    return losses, grads
