import copy
from types import SimpleNamespace

import pytest
import torch

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.ssl.quantizer import GumbelQuantizer


def make(**changes):
    torch.manual_seed(0)
    options = {"latent_vars": 5, "latent_groups": 2, "latent_dim": 6} | changes
    return GumbelQuantizer(4, **options)


def exponential(n):
    return torch.empty(n, 2, 5).exponential_(generator=torch.Generator().manual_seed(1))


def test_vectors_are_entries_of_the_codebooks():
    quantizer, frames = make(), torch.randn(7, 4)
    for noise in (None, exponential(7)):
        out = quantizer(frames, noise)
        for n in range(7):
            parts = [quantizer.codebooks[g, out.codes[n, g]] for g in range(2)]
            torch.testing.assert_close(out.vectors[n], torch.cat(parts))
        torch.testing.assert_close(out.probs.sum(-1), torch.ones(7, 2))
    logits = quantizer.weight_proj(frames).view(7, 2, 5)
    assert torch.equal(quantizer(frames).codes, logits.argmax(-1)), "without noise: the largest"


def test_the_gradient_is_that_of_the_softmax_at_the_temperature():
    quantizer, noise = make(latent_temp=(0.7, 0.5, 1.0)), exponential(3)
    frames = torch.randn(3, 4, requires_grad=True)
    weights = torch.randn(3, 6)
    (quantizer(frames, noise).vectors * weights).sum().backward()
    hard, frames.grad = frames.grad, None
    logits = quantizer.weight_proj(frames).view(3, 2, 5) - noise.log()
    soft = (logits / 0.7).softmax(-1)
    vectors = torch.einsum("ngv,gvd->ngd", soft, quantizer.codebooks.detach()).flatten(1)
    (vectors * weights).sum().backward()
    torch.testing.assert_close(hard, frames.grad)
    # codebooks: only the chosen entries
    assert quantizer.codebooks.grad is not None
    used = quantizer(frames, noise).codes
    for g in range(2):
        rows = quantizer.codebooks.grad[g].abs().sum(-1).nonzero().flatten().tolist()
        assert rows == sorted(set(used[:, g].tolist()))


def test_samples_follow_the_probabilities():
    quantizer = make(latent_groups=1, latent_dim=3)
    frame = torch.tensor([[0.3, -0.2, 0.5, 0.1]])
    noise = torch.empty(20000, 1, 5).exponential_(generator=torch.Generator().manual_seed(2))
    out = quantizer(frame.expand(20000, 4), noise)
    share = torch.bincount(out.codes[:, 0], minlength=5) / 20000
    torch.testing.assert_close(share, out.probs[0, 0].detach(), atol=0.015, rtol=0)


def test_the_temperature_follows_the_updates_and_travels_in_the_state():
    quantizer = make(latent_temp=(2.0, 0.5, 0.5))
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.0)
    quantizer.attach(optimizer)
    quantizer.attach(optimizer)  # twice is once
    told = [float(quantizer.temperature)]
    for _ in range(3):
        optimizer.step()
        told.append(float(quantizer.temperature))
    assert told == [2.0, 1.0, 0.5, 0.5]
    other = make(latent_temp=(2.0, 0.5, 0.5))
    other.load_state_dict(quantizer.state_dict())
    assert int(other.num_updates) == 3
    assert int(copy.deepcopy(quantizer).num_updates) == 3
    # what the gradient scaler tells a fused optimiser when it skips a step
    quantizer._after_step(SimpleNamespace(found_inf=torch.tensor(1.0)))
    assert int(quantizer.num_updates) == 3


def test_the_fairseq_decay():
    quantizer = make()
    quantizer.num_updates.fill_(200_000)
    assert float(quantizer.temperature) == pytest.approx(2 * 0.999995**200_000, rel=1e-5)


def test_code_ids_number_the_combinations():
    codes = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    assert sorted(make().code_ids(codes).tolist()) == list(range(25))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_vars": 1}, "latent_vars"),
        ({"latent_dim": 7}, "latent_dim: a multiple of latent_groups 2"),
        ({"latent_temp": (2, 0.5)}, r"latent_temp: write \[first, last, decay\]"),
        ({"latent_temp": (0.5, 2, 0.9)}, "latent_temp: needs"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)
