"""Training under bfloat16 autocast, as ``--use_amp`` does it on a GPU."""

import pytest
import torch

from espnet2_supernet.encoder.architectures import (
    SupernetConformerEncoder,
    SupernetTransformerEncoder,
)
from espnet2_supernet.supernet.context import Context

SIZES = {"input_size": 20, "output_size": 16, "attention_heads": 2, "linear_units": 32}


@pytest.mark.parametrize("context", [Context(), Context(4, 6), Context(4, 4, 2)], ids=str)
@pytest.mark.parametrize("kind", [SupernetTransformerEncoder, SupernetConformerEncoder])
@pytest.mark.parametrize("training", [True, False])
def test_passes_and_gradients_are_close_to_float32(kind, context, training):
    torch.manual_seed(0)
    encoder = kind(**SIZES, num_blocks=2, dropout_rate=0.0).train(training)
    feats, lengths = torch.randn(2, 70, 20), torch.tensor([70, 41])
    results = []
    for enabled in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out, _, _ = encoder(feats, lengths, context=context)
            loss = (out.float() ** 2).mean() + out.float().mean()
        loss.backward()
        results.append((out, [p.grad.norm() for p in encoder.parameters()]))
    (exact, norms), (rounded, rounded_norms) = results
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)
    total, rounded_total = (torch.stack(one).norm() for one in (norms, rounded_norms))
    torch.testing.assert_close(rounded_total, total, atol=0.0, rtol=0.1)


def test_dropout_works_under_autocast():
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(
        **SIZES, num_blocks=1, dropout_rate=0.2, attention_dropout_rate=0.2
    )
    with torch.autocast("cpu", torch.bfloat16):
        out, _, _ = encoder(torch.randn(2, 40, 20), torch.tensor([40, 30]), context=Context(4, 4))
    out.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
