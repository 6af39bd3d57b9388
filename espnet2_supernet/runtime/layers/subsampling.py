"""From features to encoder frames, without look-ahead: the two kinds of ``encoder/subsampling``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from espnet2_supernet.runtime.layers.row_matrix import RowMatrix

Array = np.ndarray
Weights = Mapping[str, Array]
STRIDE = 2  # of both convolutions


class Subsampling(Protocol):
    """Turns every ``factor`` features into one frame."""

    factor: int

    def init_state(self) -> list[Array]:
        """What is remembered before the first feature."""
        ...

    def __call__(self, feats: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """Map features ``(factor * n, F)`` to frames ``(n, D)``; also return the next state."""
        ...


class StackSubsampling:
    """Linear projection, then ``factor`` frames side by side.

    Args:
        weights: ``linear.weight`` (D / factor, F).
        size: D.
    """

    def __init__(self, weights: Weights, size: int) -> None:
        """Keep the matrix."""
        self._linear = RowMatrix(weights["linear.weight"])
        self.factor = size // self._linear.outs

    def init_state(self) -> list[Array]:
        """Nothing to remember: an empty list."""
        return []

    def __call__(self, feats: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """Map features ``(factor * n, F)`` to frames ``(n, D)``."""
        frames = self._linear(feats)
        return frames.reshape(-1, self.factor * frames.shape[1]), state


class Conv2dSubsampling:
    """Two 3x3 convolutions of stride two over time and frequency, causal in time.

    Channels come last here, so that a convolution is one matrix product over its windows.

    Args:
        weights: ``conv1.*`` (C, 1, 3, 3), ``conv2.*`` (C, C, 3, 3), ``linear.*`` (D, C * bands).
        input_size: Features F.
    """

    factor = STRIDE * STRIDE

    def __init__(self, weights: Weights, input_size: int) -> None:
        """Rearrange the weights."""
        self._convolutions = []
        bands, self._shapes = input_size, []
        for name in ("conv1", "conv2"):
            weight = weights[f"{name}.weight"]
            outs, channels = weight.shape[:2]
            # (C_out, C_in, 3, 3) to the order of a window: time, frequency, channel
            matrix = weight.transpose(0, 2, 3, 1).reshape(outs, -1)
            self._convolutions.append(RowMatrix(matrix, weights[f"{name}.bias"]))
            self._shapes.append((1, bands, channels))
            bands = (bands - 1) // STRIDE
        linear = weights["linear.weight"]
        by_band = linear.reshape(len(linear), -1, bands).swapaxes(1, 2).reshape(len(linear), -1)
        self._linear = RowMatrix(by_band, weights["linear.bias"])

    def init_state(self) -> list[Array]:
        """The last input frame of each convolution, zeros before the first: (1, bands, C)."""
        return [np.zeros(shape, np.float32) for shape in self._shapes]

    def __call__(self, feats: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """Map features ``(4 n, F)`` to frames ``(n, D)``; also return the next state."""
        x, next_state = feats[:, :, None], []
        for convolution, last in zip(self._convolutions, state, strict=True):
            x = np.concatenate([last, x])
            next_state.append(x[-1:].copy())
            windows = _windows(x)
            out = convolution(windows.reshape(-1, windows.shape[2]))
            x = silu(out).reshape(*windows.shape[:2], -1)
        return self._linear(x.reshape(len(x), -1)), next_state


def _windows(x: Array) -> Array:
    """Copy the 3x3 windows of ``(T, F, C)``, stride two: ``(T', F', 9 C)``."""
    times, bands, channels = (x.shape[0] - 1) // STRIDE, (x.shape[1] - 1) // STRIDE, x.shape[2]
    out = np.empty((times, bands, 3, 3, channels), np.float32)
    for i in range(3):
        rows = x[i : i + STRIDE * times : STRIDE]
        for j in range(3):
            out[:, :, i, j] = rows[:, j : j + STRIDE * bands : STRIDE]
    return out.reshape(times, bands, -1)


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``, in place."""
    with np.errstate(over="ignore"):  # exp of a very negative number's opposite: result is -0
        x /= 1.0 + np.exp(-x)
    return x
