"""Output layers: CTC head, RNN-T predictors and joint network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from espnet2_supernet.runtime.layers.row_matrix import RowMatrix

Array = np.ndarray
Weights = Mapping[str, Array]
MAX_TABLE_BYTES = 8 << 20


def log_softmax(logits: Array) -> Array:
    """Natural log of the softmax over the last axis ``(n, V)``, in place."""
    logits -= logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return logits


def linear(weights: Weights, name: str) -> RowMatrix:
    """Return the affine map ``x W^T + b`` of a layer.

    Args:
        weights: ``<name>.weight`` (outs, ins) and, if there is one, ``<name>.bias`` (outs,).
        name: Prefix of the keys.
    """
    return RowMatrix(weights[f"{name}.weight"], weights.get(f"{name}.bias"))


class CTCHead:
    """Encoder frames to log-probabilities of CTC.

    Args:
        weights: ``ctc.ctc_lo.weight`` (V, D) and ``.bias`` (V,).
    """

    def __init__(self, weights: Weights) -> None:
        """Keep the arrays."""
        self._linear = linear(weights, "ctc.ctc_lo")

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

    The first layer's input product has V possible results. Where they take little room, they are
    computed once: a step reads weights faster than it multiplies, and then reads half of them.

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
        names = [f"predictor.rnn.{layer}." for layer in range(num_layers)]
        self._given = [_recurrent(weights, name, "ih") for name in names]
        self._held = [_recurrent(weights, name, "hh") for name in names]
        self._table: Array | None = None
        if len(self._embed) * self._given[0].outs * self._embed.itemsize <= MAX_TABLE_BYTES:
            self._table = self._given[0](self._embed)

    def init_state(self) -> Array:
        """State before the first token: zeros (N, 2 or 1, H)."""
        hidden = self._held[0].ins
        return np.zeros((len(self._held), self._num_states, hidden), np.float32)

    def step(self, tokens: list[int], states: list[Array]) -> tuple[Array, list[Array]]:
        """Read one more token per history.

        Args:
            tokens: Token read by each (B,).
            states: State of each, (N, 2 or 1, H).

        Returns:
            Outputs ``(B, H)`` and the new states.
        """
        old = np.stack(states, axis=2)
        new, x = np.empty_like(old), self._embed[tokens]
        for layer, held in enumerate(self._held):
            if layer == 0 and self._table is not None:
                given = self._table[tokens]
            else:
                given = self._given[layer](x)
            self._cell(given, held(old[layer, 0]), old[layer], new[layer])
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
        self._enc = linear(weights, "joint_network.lin_enc")
        self._dec = linear(weights, "joint_network.lin_dec")
        self._out = linear(weights, "joint_network.lin_out")

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


def _recurrent(weights: Weights, name: str, part: str) -> RowMatrix:
    """One of the two products of a recurrent layer, ``ih`` or ``hh``."""
    return RowMatrix(*(weights[f"{name}{key}_{part}_l0"] for key in ("weight", "bias")))


def _lstm(given: Array, held: Array, old: Array, new: Array) -> None:
    """One step (Hochreiter & Schmidhuber 1997); gates in torch's order: in, forget, cell, out."""
    entry, forget, cell, out = np.split(given + held, 4, axis=1)
    new[1] = _sigmoid(forget) * old[1] + _sigmoid(entry) * np.tanh(cell)
    new[0] = _sigmoid(out) * np.tanh(new[1])


def _gru(given: Array, held: Array, old: Array, new: Array) -> None:
    """One step (Cho et al. 2014, as cuDNN does it); gates in torch's order: reset, update, new."""
    reset_x, update_x, new_x = np.split(given, 3, axis=1)
    reset_h, update_h, new_h = np.split(held, 3, axis=1)
    update = _sigmoid(update_x + update_h)
    fresh = np.tanh(new_x + _sigmoid(reset_x + reset_h) * new_h)
    new[0] = (1.0 - update) * fresh + update * old[0]


def _sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # does not overflow
