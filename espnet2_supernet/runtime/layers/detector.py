"""SALAD's detector without torch: ``damon/detector.py`` over frames as they come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from espnet2_supernet.runtime.layers.row_matrix import RowMatrix
from espnet2_supernet.runtime.layers.subsampling import silu

Array = np.ndarray
EPSILON = 1e-5  # of torch's LayerNorm


class SaladDetector:
    """Causal detector of salient frames over what the first block would read.

    Args:
        weights: ``norm.*`` (D,), ``linear_in.*`` (C, D), ``convolutions.<i>.*`` (C, C, k) and
            ``linear_out.*`` (1, C).

    Raises:
        KeyError: If an array is missing.
        ValueError: If shapes do not fit.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Rearrange the weights."""
        self._scale, self._shift = weights["norm.weight"], weights["norm.bias"]
        self._linear_in = _linear(weights, "linear_in")
        self._convolutions: list[RowMatrix] = []
        while f"convolutions.{len(self._convolutions)}.weight" in weights:
            self._convolutions.append(_linear(weights, f"convolutions.{len(self._convolutions)}"))
        self._linear_out = _linear(weights, "linear_out")
        self._channels, width = self._linear_in.outs, self._linear_out.ins
        sizes = {layer.ins for layer in self._convolutions}
        fits = len(sizes) == 1 and max(sizes) % self._channels == 0 and width == self._channels
        if not fits or self._scale.shape != (self._linear_in.ins,):
            raise ValueError(f"detector: matrices of {width} and {sizes} inputs")
        self._taps = max(sizes) // self._channels

    def init_state(self) -> list[Array]:
        """What each convolution saw before the first frame: zeros (k - 1, C)."""
        shape = (self._taps - 1, self._channels)
        return [np.zeros(shape, np.float32) for _ in self._convolutions]

    def __call__(self, frames: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """Score frames.

        Args:
            frames: ``(n, D)``, n at least 1.
            state: Result of :meth:`init_state` or of the last call; it is not changed.

        Returns:
            Log-odds of being salient ``(n,)``, and the next state.
        """
        hidden, rest = silu(self._linear_in(self._normalised(frames))), []
        for convolution, past in zip(self._convolutions, state, strict=True):
            seen = np.concatenate([past, hidden])
            rest.append(seen[len(hidden) :].copy())
            windows = np.lib.stride_tricks.sliding_window_view(seen, self._taps, axis=0)
            # (n, C, k), channel by channel, as torch stores a kernel
            hidden = silu(convolution(windows.reshape(len(hidden), -1)))
        return self._linear_out(hidden)[:, 0], rest

    def _normalised(self, frames: Array) -> Array:
        centred = frames - frames.mean(1, keepdims=True)
        variance = np.square(centred).mean(1, keepdims=True)
        return centred / np.sqrt(variance + np.float32(EPSILON)) * self._scale + self._shift


def _linear(weights: Mapping[str, Array], name: str) -> RowMatrix:
    """The affine map of a layer, or of a convolution over its windows."""
    weight = weights[f"{name}.weight"]
    return RowMatrix(weight.reshape(len(weight), -1), weights[f"{name}.bias"])
