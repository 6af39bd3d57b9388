"""The quantiser's temperature was computed in float64, which some devices do not have."""

import torch

from espnet2_supernet.ssl.quantizer import GumbelQuantizer


def test_the_temperature_needs_no_float64(monkeypatch):
    quantizer, used = GumbelQuantizer(4, 5, 2, 6), []
    to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *a, **k: used.append(a) or to(x, *a, **k))
    monkeypatch.setattr(torch.Tensor, "double", lambda x: used.append((torch.float64,)))
    assert quantizer.temperature.dtype == torch.float32
    assert not any(torch.float64 in arguments for arguments in used)
