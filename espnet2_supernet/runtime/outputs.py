"""Output layers: CTC head, RNN-T predictors and joint network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]


def log_softmax(logits: Array) -> Array:
    """Natural log of the softmax over the last axis ``(n, V)``, in place."""
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return logits


class Linear:
    """Affine map ``x W^T + b``.

    Args:
        weights: ``<name>.weight`` (outs, ins) and, if there is one, ``<name>.bias`` (outs,).
        name: Prefix of the keys.
    """

    def __init__(self, weights: Weights, name: str) -> None:
        """Keep the arrays."""
        self._weight = weights[f"{name}.weight"].T
        self._bias = weights.get(f"{name}.bias")

    @property
    def outs(self) -> int:
        """Number of outputs."""
        return self._weight.shape[1]

    def __call__(self, x: Array) -> Array:
        """Map ``(n, ins)`` to ``(n, outs)``."""
        out = x @ self._weight
        if self._bias is not None:
            out += self._bias
        return out


class CTCHead:
    """Encoder frames to log-probabilities of CTC.

    Args:
        weights: ``ctc.ctc_lo.weight`` (V, D) and ``.bias`` (V,).
    """

    def __init__(self, weights: Weights) -> None:
        """Keep the arrays."""
        self._linear = Linear(weights, "ctc.ctc_lo")

    def __call__(self, frames: Array) -> Array:
        """Map ``(n, D)`` to natural log-probabilities ``(n, V)``."""
        return log_softmax(self._linear(frames))


class StatelessPredictor:
    """The embedding of the last token (ESPnet's ``StatelessDecoder``).

    Args:
        weights: ``predictor.embed.weight`` (V, E).
    """

    def __init__(self, weights: Weights) -> None:
        """Keep the embedding."""
        self._embed = weights["predictor.embed.weight"]

    def init_state(self) -> None:
        """There is nothing to remember."""

    def step(self, tokens: list[int], states: list[Any]) -> tuple[Array, list[Any]]:
        """Read one more token per history: outputs ``(B, E)`` and the states."""
        return self._embed[tokens], [None] * len(tokens)


class RNNPredictor:
    """Embedding and recurrent layers (ESPnet's ``RNNDecoder``).

    Args:
        weights: ``predictor.embed.weight`` and ``predictor.rnn.<i>.{weight,bias}_{ih,hh}_l0``.
        rnn_type: ``lstm`` or ``gru``.
        num_layers: Recurrent layers N.
    """

    def __init__(self, weights: Weights, rnn_type: str, num_layers: int) -> None:
        """Keep the arrays."""
        self._embed = weights["predictor.embed.weight"]
        self._cell = {"lstm": _lstm, "gru": _gru}[rnn_type]
        self._num_states = {"lstm": 2, "gru": 1}[rnn_type]
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._layers = [
            [weights[f"predictor.rnn.{layer}.{name}_l0"].T for name in names]
            for layer in range(num_layers)
        ]

    def init_state(self) -> Array:
        """State before the first token: zeros (N, 2 or 1, H)."""
        hidden = len(self._layers[0][1])
        return np.zeros((len(self._layers), self._num_states, hidden), np.float32)

    def step(self, tokens: list[int], states: list[Array]) -> tuple[Array, list[Array]]:
        """Read one more token per history.

        Args:
            tokens: Token read by each (B,).
            states: State of each, (N, 2 or 1, H).

        Returns:
            Outputs ``(B, H)`` and the new states.
        """
        x, old = self._embed[tokens], np.stack(states, axis=2)
        new = np.empty_like(old)
        for layer, arrays in enumerate(self._layers):
            self._cell(x, old[layer], new[layer], arrays)
            x = new[layer, 0]
        return x, [new[:, :, row] for row in range(len(tokens))]


class TransducerHead:
    """Predictor and joint network as step functions for a search.

    Args:
        predictor: One of the predictors above.
        weights: ``joint_network.lin_{enc,dec,out}``.
        blank_id: Index of blank, which also starts every history.
    """

    def __init__(
        self, predictor: RNNPredictor | StatelessPredictor, weights: Weights, blank_id: int
    ) -> None:
        """Keep the arrays."""
        self.blank_id = blank_id
        self._predictor = predictor
        self._enc = Linear(weights, "joint_network.lin_enc")
        self._dec = Linear(weights, "joint_network.lin_dec")
        self._out = Linear(weights, "joint_network.lin_out")

    def project(self, frames: Array) -> Array:
        """Map encoder outputs ``(n, D)`` to the joint space ``(n, J)``."""
        return self._enc(frames)

    def start(self) -> tuple[Array, Any]:
        """Return the projected predictor output ``(1, J)`` and state before the first token."""
        outputs, states = self.step([self.blank_id], [self._predictor.init_state()])
        return outputs, states[0]

    def step(self, tokens: list[int], states: list[Any]) -> tuple[Array, list[Any]]:
        """Read one more token per history: projected outputs ``(B, J)`` and the new states."""
        outputs, new = self._predictor.step(tokens, states)
        return self._dec(outputs), new

    def stack(self, outputs: list[Array]) -> Array:
        """Put projected outputs ``(J,)`` into one matrix ``(B, J)``."""
        return np.stack(outputs)

    def log_probs(self, enc: Array, pred: Array) -> Array:
        """Combine projections (broadcast over the first axis): log-probabilities ``(n, V)``."""
        return log_softmax(self._out(np.tanh(enc + pred)))


def _lstm(x: Array, old: Array, new: Array, arrays: list[Array]) -> None:
    """One step (Hochreiter & Schmidhuber 1997); gates in torch's order: in, forget, cell, out."""
    weight_ih, weight_hh, bias_ih, bias_hh = arrays
    gates = x @ weight_ih + old[0] @ weight_hh + bias_ih + bias_hh
    entry, forget, cell, out = np.split(gates, 4, axis=1)
    new[1] = _sigmoid(forget) * old[1] + _sigmoid(entry) * np.tanh(cell)
    new[0] = _sigmoid(out) * np.tanh(new[1])


def _gru(x: Array, old: Array, new: Array, arrays: list[Array]) -> None:
    """One step (Cho et al. 2014, as cuDNN does it); gates in torch's order: reset, update, new."""
    weight_ih, weight_hh, bias_ih, bias_hh = arrays
    given = np.split(x @ weight_ih + bias_ih, 3, axis=1)
    held = np.split(old[0] @ weight_hh + bias_hh, 3, axis=1)
    reset, update = _sigmoid(given[0] + held[0]), _sigmoid(given[1] + held[1])
    fresh = np.tanh(given[2] + reset * held[2])
    new[0] = (1.0 - update) * fresh + update * old[0]


def _sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # does not overflow
