"""RNN-T loss against the definition, torchaudio, and by properties."""

import numpy as np
import pytest
import torch
from torchaudio.functional import rnnt_loss as torchaudio_loss

from espnet2_supernet.asr.losses import rnnt
from espnet2_supernet.asr.losses.rnnt import rnnt_loss
from espnet2_supernet.asr.losses.rnnt_reference import rnnt_loss_reference
from espnet2_supernet.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("one_thread")


def batch(seed, batch=3, frames=6, labels=4, vocab=7, blank=0):
    """Logits, targets and lengths; the first utterance fills T and U, the rest are ragged."""
    gen = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, frames, labels + 1, vocab, generator=gen)
    targets = torch.randint(0, vocab - 1, (batch, labels), generator=gen)
    targets += targets >= blank
    t_lens = torch.randint(1, frames + 1, (batch,), generator=gen)
    u_lens = torch.randint(0, labels + 1, (batch,), generator=gen)
    t_lens[0], u_lens[0] = frames, labels
    return logits, targets, t_lens, u_lens


def loss_and_grad(function, logits, *rest, **options):
    logits = logits.detach().requires_grad_()
    losses = function(logits, *rest, **options)
    weights = torch.linspace(-1, 2, len(losses), dtype=losses.dtype)
    return losses.detach(), torch.autograd.grad(losses @ weights, logits)[0]


def assert_matches_reference(logits, targets, t_lens, u_lens, blank=0, tolerance=1e-5):
    args = (targets, t_lens, u_lens, blank)
    losses, grad = loss_and_grad(rnnt_loss, logits, *args)
    expected, expected_grad = loss_and_grad(rnnt_loss_reference, logits.double(), *args)
    assert losses.dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)
    assert grad.dtype == logits.dtype
    torch.testing.assert_close(losses.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(grad.double(), expected_grad, rtol=tolerance, atol=tolerance)


def random_shape(seed):
    rng = np.random.default_rng(seed)
    return {
        "batch": int(rng.integers(1, 5)),
        "frames": int(rng.integers(1, 9)),
        "labels": int(rng.integers(0, 6)),
        "vocab": int(rng.integers(2, 40)),
    }


@pytest.mark.parametrize("seed", range(25))
def test_random_shapes_match_the_reference(seed):
    shape = random_shape(seed)
    blank = seed % shape["vocab"]
    assert_matches_reference(*batch(seed, blank=blank, **shape), blank=blank)


@pytest.mark.parametrize(
    "t_lens, u_lens",
    [
        ([1, 1, 1], [4, 1, 0]),
        ([6, 1, 3], [0, 0, 4]),
        ([1, 6, 6], [0, 4, 4]),
        ([1], [0]),
        ([1], [4]),
    ],
)
def test_edge_lengths(t_lens, u_lens):
    logits, targets, _, _ = batch(1, batch=len(t_lens))
    assert_matches_reference(logits, targets, torch.tensor(t_lens), torch.tensor(u_lens))


def test_no_labels_at_all():
    logits, _, t_lens, u_lens = batch(2, labels=0)
    assert_matches_reference(logits, torch.zeros(3, 0, dtype=torch.long), t_lens, u_lens)


def test_float64_matches_to_rounding():
    logits, targets, t_lens, u_lens = batch(3)
    assert_matches_reference(logits.double(), targets, t_lens, u_lens, tolerance=1e-12)


def test_gradcheck():
    logits, targets, t_lens, u_lens = batch(4, frames=4, labels=2, vocab=4)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rnnt_loss(x, targets, t_lens, u_lens), logits)
    assert torch.autograd.gradcheck(
        lambda x: rnnt_loss_reference(x, targets, t_lens, u_lens), logits
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_upcast(dtype):
    logits, targets, t_lens, u_lens = batch(5)
    logits = logits.to(dtype)
    losses, grad = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    expected, expected_grad = loss_and_grad(rnnt_loss, logits.float(), targets, t_lens, u_lens)
    assert torch.equal(losses, expected)
    assert grad.dtype == dtype
    assert torch.equal(grad, expected_grad.to(dtype))


def test_noncontiguous_inputs():
    logits, targets, t_lens, u_lens = batch(6)
    flipped = logits.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    strided = torch.stack((targets, targets), dim=-1)[..., 0]
    lens = torch.stack((t_lens, u_lens), dim=-1)
    result = loss_and_grad(rnnt_loss, flipped, strided.int(), lens[:, 0].int(), lens[:, 1].int())
    expected = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    assert torch.equal(result[0], expected[0]) and torch.equal(result[1], expected[1])


def test_padding_changes_nothing_and_gets_no_gradient():
    logits, targets, t_lens, u_lens = batch(7)
    frames, states = torch.arange(6)[:, None], torch.arange(5)
    padding = (frames >= t_lens[:, None, None]) | (states > u_lens[:, None, None])
    poisoned = logits.masked_fill(padding[..., None], float("nan"))
    targets = targets.masked_fill(torch.arange(4) >= u_lens[:, None], -1)
    losses, grad = loss_and_grad(rnnt_loss, poisoned, targets, t_lens, u_lens)
    expected, expected_grad = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    assert torch.equal(losses, expected) and torch.equal(grad, expected_grad)
    assert bool((grad[padding] == 0).all())
    doubled, grad64 = loss_and_grad(rnnt_loss, poisoned.double(), targets, t_lens, u_lens)
    torch.testing.assert_close(doubled.float(), expected)
    torch.testing.assert_close(grad64.float(), expected_grad)


def test_matches_torchaudio_with_more_frames():
    logits, targets, t_lens, u_lens = batch(8, batch=2, frames=60, labels=20, vocab=50)
    losses, grad = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    args = (targets.int(), t_lens.int(), u_lens.int())
    expected, expected_grad = loss_and_grad(
        torchaudio_loss, logits, *args, blank=0, reduction="none"
    )
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-3, atol=1e-3)


def test_gpu_branch_by_its_cpu_kernel():
    # What CUDA tensors take: torchaudio, sliced, either on logits or on the two planes.
    logits, targets, t_lens, u_lens = batch(9)
    t_lens, u_lens = t_lens.clamp(max=5), u_lens.clamp(max=3)
    expected, expected_grad = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    losses, grad = loss_and_grad(rnnt._torchaudio_loss, logits, targets, t_lens, u_lens, 0)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)

    labels = torch.nn.functional.pad(targets, (0, 1))
    planes = rnnt.target_log_probs(logits, labels, t_lens, u_lens).float()
    ones = torch.ones_like(targets)
    losses, grad = loss_and_grad(
        rnnt._torchaudio_loss, planes, ones, t_lens, u_lens, 0, fused_log_softmax=False
    )
    expected, expected_grad = loss_and_grad(rnnt.lattice_loss, planes, t_lens, u_lens)
    torch.testing.assert_close(losses, expected.float())
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 30.0, 1e4])
def test_extreme_logits(scale):
    logits, targets, t_lens, u_lens = batch(10)
    assert_matches_reference(scale * logits, targets, t_lens, u_lens)


def test_masked_tokens_are_fine_and_an_impossible_path_is_infinite():
    logits, targets, t_lens, u_lens = batch(11, vocab=9)
    targets = targets.clamp(max=7)
    logits[..., 8] = -float("inf")
    assert_matches_reference(logits, targets, t_lens, u_lens)
    logits[0, -1, -1, 0] = -float("inf")  # the last blank, which every path takes
    losses = rnnt_loss(logits, targets, t_lens, u_lens)
    assert losses[0] == float("inf") and bool(losses[1:].isfinite().all())


@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf")])
def test_nan_logits_reach_loss_and_gradient(value):
    logits, targets, t_lens, u_lens = batch(12, vocab=33)
    logits[0, 2, 1, 32] = value  # neither blank nor label: only the normaliser sees it
    losses, grad = loss_and_grad(rnnt_loss, logits, targets, t_lens, u_lens)
    assert not bool(losses[0].isfinite()) and bool(losses[1:].isfinite().all())
    assert not bool(grad[0].isfinite().all()) and bool(grad[1:].isfinite().all())


def test_two_threads_give_the_same_bits():
    args = batch(13, batch=4, frames=60, labels=20, vocab=11)
    expected = loss_and_grad(rnnt_loss, *args)
    torch.set_num_threads(2)
    result = loss_and_grad(rnnt_loss, *args)
    assert torch.equal(result[0], expected[0]) and torch.equal(result[1], expected[1])


def test_reductions_and_no_grad():
    args = batch(14)
    losses = rnnt_loss(*args)
    assert torch.equal(rnnt_loss(*args, reduction="sum"), losses.sum())
    assert torch.equal(rnnt_loss(*args, reduction="mean"), losses.mean())
    with torch.no_grad():
        assert torch.equal(rnnt_loss(args[0].requires_grad_(), *args[1:]), losses)


def broken(change):
    logits, targets, t_lens, u_lens = batch(15)
    args = {"logits": logits, "targets": targets, "logit_lengths": t_lens, "target_lengths": u_lens}
    args.update(change(args))
    return args


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda a: {"targets": a["targets"].index_fill(1, torch.tensor([2]), 0)},
            r"targets\[0, 2\]",
        ),
        (lambda a: {"targets": a["targets"] + 7}, r"outside the vocabulary 0\.\.6"),
        (lambda a: {"targets": -a["targets"]}, r"targets\[0, 0\]"),
        (lambda a: {"targets": a["targets"][:, 1:]}, "targets must be integers"),
        (lambda a: {"targets": a["targets"].float()}, "got float32"),
        (lambda a: {"logit_lengths": a["logit_lengths"] + 1}, r"logit_lengths\[0\] = 7"),
        (lambda a: {"logit_lengths": a["logit_lengths"] * 0}, r"outside 1\.\.6"),
        (lambda a: {"target_lengths": a["target_lengths"] + 1}, r"target_lengths\[0\] = 5"),
        (lambda a: {"target_lengths": a["target_lengths"][:2]}, "target_lengths must be"),
        (lambda a: {"logits": a["logits"][0]}, r"logits must be float \(B, T, U\+1, V\)"),
        (lambda a: {"logits": a["logits"].long()}, "got int64"),
        (lambda a: {k: v[:0] for k, v in a.items()}, "batch is empty"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(DataError, match=message):
        rnnt_loss(**broken(change))


@pytest.mark.parametrize(
    "options, message",
    [({"reduction": "avg"}, "avg"), ({"blank_id": 7}, "7"), ({"blank_id": -1}, "-1")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        rnnt_loss(**broken(lambda _: {}), **options)
