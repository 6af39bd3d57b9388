"""Dynamic int8 quantisation of PyTorch, as a row to compare with."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from espnet2_supernet.decode.speech2text import Speech2Text


def quantized(speech2text: Speech2Text) -> Speech2Text:
    """Return a copy whose encoder layers multiply in int8.

    Weights are symmetric per output row, activations are quantised on the fly
    (``torch.ao.nn.quantized.dynamic.Linear``). The heads, the predictor and the convolutions stay
    in float32: they are a small part of the time, and the searches read their weights.

    Args:
        speech2text: A recogniser without masks.
    """
    result = copy.copy(speech2text)
    result.asr_model = copy.deepcopy(speech2text.asr_model)
    for block in result.asr_model.encoder.blocks:
        _quantize_linears(block)
    return result


def _quantize_linears(module: nn.Module) -> None:
    from torch.ao.nn.quantized.dynamic import Linear
    from torch.ao.quantization import per_channel_dynamic_qconfig

    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            _quantize_linears(child)
            continue
        plain = nn.Linear(child.in_features, child.out_features, child.bias is not None)
        plain.weight, plain.bias = child.weight, child.bias
        plain.qconfig = per_channel_dynamic_qconfig  # type: ignore[assignment]
        with warnings.catch_warnings():  # torchao, its successor, is no dependency of ours
            warnings.simplefilter("ignore")
            setattr(module, name, Linear.from_float(plain.eval()))


def quantized_engine_name() -> str:
    """Return what multiplies in int8 inside PyTorch, e.g. ``x86``."""
    return str(torch.backends.quantized.engine)
