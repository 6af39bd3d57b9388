"""The numbers of a bundle: which ones, in which blocks and precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from espnet2_supernet.damon.detector import THRESHOLD_KEY
from espnet2_supernet.runtime.bundle import Weights
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix
from espnet2_supernet.runtime.bundle.description import Description
from espnet2_supernet.runtime.bundle.encoder_sizes import matrix_shapes
from espnet2_supernet.tasks.extraction import subnet_states

BLOCKS = ((16, 4), (16, 1), (8, 4), (8, 1), (4, 4), (4, 1), (1, 4), (1, 1))
HEADS = ("ctc.ctc_lo.", "predictor.", "joint_network.")
# SALAD's detector and what it reads stay in float32: rounded scores would keep other frames than
# those that the subnet was trained with.
EXACT = ("detector.", "encoder.subsampling.")
INDEX_BYTES = 2  # of the place of a block


def bundle_weights(model: Any, name: str, description: Description) -> Weights:
    """Collect what the runtime needs of a subnet, in the precision of the bundle.

    Args:
        model: Trained model.
        name: Subnet.
        description: What the bundle says about itself.

    Returns:
        Arrays and block-compressed matrices by their names in the model.
    """
    rule = description.keep_rule
    exact = EXACT if rule is not None and rule.kind == "salad" else ()
    states = {key: _array(value) for key, value in subnet_states(model, name).items()}
    sparse = {f"encoder.{key}" for key in matrix_shapes(description.encoder)}
    int8 = description.precision == "int8"
    weights: Weights = {}
    for key, value in states.items():
        # the threshold is in the description
        if not key.startswith(("encoder.", *HEADS, *exact)) or key == THRESHOLD_KEY:
            continue
        if key.startswith(exact):
            weights[key] = value
        elif key in sparse or (int8 and value.ndim == 2):
            matrix = BlockMatrix.from_dense(value, best_block(value, 1 if int8 else 4))
            weights[key] = matrix.quantize() if int8 else matrix
        else:
            weights[key] = value.astype(np.float16) if int8 and value.ndim > 2 else value
    # The numbers the model computes with: made anew, narrow bands differ by rounding.
    filters = _array(model.frontend.filters).T
    weights["features.filters"] = BlockMatrix.from_dense(np.ascontiguousarray(filters), (1, 1))
    weights["features.window"] = _array(model.frontend.window)
    if model.normalize is not None:
        weights["normalize.mean"] = _array(model.normalize.mean)
        weights["normalize.std"] = _array(model.normalize.std)
    return weights


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy()


def best_block(weight: np.ndarray, itemsize: int) -> tuple[int, int]:
    """Choose the blocks in which a matrix takes the fewest bytes; the larger ones if equal.

    Args:
        weight: Matrix (rows, columns) with zeros.
        itemsize: Bytes of a stored weight.
    """

    def size(block: tuple[int, int]) -> int:
        return _kept_blocks(weight, block) * (block[0] * block[1] * itemsize + INDEX_BYTES)

    return min(BLOCKS, key=size)


def _kept_blocks(weight: np.ndarray, block: tuple[int, int]) -> int:
    kept = (weight != 0).astype(np.uint8)
    for axis, width in enumerate(block):
        kept = np.maximum.reduceat(kept, np.arange(0, kept.shape[axis], width), axis=axis)
    return int(kept.sum())
