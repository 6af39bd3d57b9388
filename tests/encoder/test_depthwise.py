"""Depthwise convolution against torch's."""

import pytest
import torch
import torch.nn.functional as F

from espnet2_supernet.encoder.depthwise import depthwise_conv


@pytest.mark.parametrize(("frames", "kernel"), [(9, 5), (5, 5), (4, 1)])
def test_equals_conv1d_with_its_gradients(frames, kernel):
    torch.manual_seed(0)
    x = torch.randn(3, frames, 6, requires_grad=True)
    weight = torch.randn(6, 1, kernel, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    expected = F.conv1d(x.transpose(1, 2), weight, bias, groups=6).transpose(1, 2)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight, bias), grad)
    out = depthwise_conv(x, weight, bias)
    torch.testing.assert_close(out, expected)
    for given, one in zip(torch.autograd.grad(out, (x, weight, bias), grad), wanted, strict=True):
        torch.testing.assert_close(given, one)
    with torch.no_grad():
        torch.testing.assert_close(depthwise_conv(x, weight, bias), expected)


def test_bfloat16_input_keeps_its_type():
    weight, bias = torch.randn(4, 1, 3), torch.randn(4)
    assert depthwise_conv(torch.randn(1, 5, 4).bfloat16(), weight, bias).dtype == torch.bfloat16


def test_a_bias_may_be_missing():
    x, weight = torch.randn(1, 6, 4), torch.randn(4, 1, 3)
    expected = F.conv1d(x.transpose(1, 2), weight, groups=4).transpose(1, 2)
    torch.testing.assert_close(depthwise_conv(x, weight, None), expected)
