"""Rotary positions."""

import pytest
import torch

from espnet2_supernet.encoder import SupernetTransformerEncoder, chunks
from espnet2_supernet.encoder.rotary import rotary_tables, rotate


def textbook(x: torch.Tensor, positions: torch.Tensor, heads: int) -> torch.Tensor:
    """Rotation of ``x (T, H * d)`` as a product of complex numbers."""
    dim = x.size(-1) // heads
    rates = 10000.0 ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    turn = torch.polar(torch.ones(()).double(), positions[:, None, None] * rates)
    first, second = x.double().unflatten(-1, (heads, dim)).chunk(2, dim=-1)
    out = torch.complex(first, second) * turn
    return torch.cat([out.real, out.imag], dim=-1).flatten(1).float()


def test_equals_complex_multiplication_with_its_gradient():
    torch.manual_seed(0)
    x = torch.randn(7, 3 * 8, requires_grad=True)
    positions = torch.arange(5, 12)
    expected = textbook(x, positions, 3)
    grad = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, x, grad)
    out = rotate(x, *rotary_tables(positions, 3, 8), 3)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(torch.autograd.grad(out, x, grad)[0], wanted)


def test_products_depend_on_the_distance_alone_after_a_day():
    """A day has 2.16 million frames of 40 ms."""
    torch.manual_seed(0)
    query, key = torch.randn(1, 16), torch.randn(1, 16)

    def product(start: int) -> torch.Tensor:
        tables = rotary_tables(torch.tensor([start, start + 3]), 1, 16)
        (cos_q, cos_k), (sin_q, sin_k) = tables
        return rotate(query, cos_q, sin_q, 1) @ rotate(key, cos_k, sin_k, 1).t()

    torch.testing.assert_close(product(0), product(2_160_000), atol=2e-6, rtol=0)


@pytest.mark.parametrize("keep", [None, torch.ones(1, 20, dtype=torch.bool)], ids=["all", "kept"])
def test_tables_are_made_once_for_all_blocks(monkeypatch, keep):
    made, make = [], chunks.rotary_tables
    monkeypatch.setattr(chunks, "rotary_tables", lambda *a: made.append(1) or make(*a))
    encoder = SupernetTransformerEncoder(20, 16, 2, 32, num_blocks=3).eval()
    encoder.encode_frames(torch.randn(1, 20, 16), torch.tensor([20]), None, keep)
    assert len(made) == 1
