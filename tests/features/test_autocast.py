"""Half precision: the convolutions use it, the statistics do not."""

import pytest
import torch

from espnet2_supernet.features.waveform_conv import WaveformConvFrontend

torch.set_num_threads(1)
LAYERS = [[8, 10, 5], [8, 3, 2], [8, 3, 2]]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("conf", [{}, {"norm": "layer", "normalize_input": True}], ids=str)
def test_bfloat16_is_close(conf, streaming):
    torch.manual_seed(0)
    frontend = WaveformConvFrontend(conv_feature_layers=LAYERS, **conf)
    wav, lengths = 0.1 * torch.randn(2, 8000) + 0.3, torch.tensor([8000, 5000])
    expected, _ = frontend(wav, lengths, streaming)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = frontend(wav, lengths, streaming)
    error = (found.float() - expected).abs()
    assert error.mean() < 0.02 * expected.abs().mean() + 1e-3 and found.isfinite().all()
    found.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in frontend.parameters())
