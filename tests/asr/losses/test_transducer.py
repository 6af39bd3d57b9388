"""Memory-bounded RNN-T loss: equal to the direct one, and really bounded."""

import weakref

import pytest
import torch
from espnet2.asr_transducer.joint_network import JointNetwork

from espnet2_supernet.asr.losses.rnnt_reference import rnnt_loss_reference
from espnet2_supernet.asr.losses.transducer import plan_groups, transducer_loss
from espnet2_supernet.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("one_thread")

VOCAB, ENC, PRED = 11, 6, 5
T_LENS, U_LENS = [9, 3, 8, 1, 6], [2, 4, 0, 1, 4]
CELLS = 5 * 9 * 5 * VOCAB


def problem(extra=0):
    """Joint network and a ragged batch; ``extra`` frames and labels of pure padding."""
    torch.manual_seed(0)
    joint = JointNetwork(VOCAB, ENC, PRED, joint_space_size=8)
    frames, labels = max(T_LENS) + extra, max(U_LENS) + extra
    enc = torch.randn(5, frames, ENC, requires_grad=True)
    pred = torch.randn(5, labels + 1, PRED, requires_grad=True)
    targets = torch.randint(1, VOCAB, (5, labels))
    return joint, enc, torch.tensor(T_LENS), pred, targets, torch.tensor(U_LENS)


def loss_and_grads(joint, enc, *rest, **options):
    losses = transducer_loss(joint, enc, *rest, **options)
    inputs = [enc, rest[1], *joint.parameters()]
    weights = torch.linspace(-1, 2, len(losses), dtype=losses.dtype)
    return losses.detach(), torch.autograd.grad(losses @ weights, inputs)


@pytest.mark.parametrize("limit", [1, 2 * VOCAB, 100, 333, 600, 1500, CELLS - 1, CELLS])
@pytest.mark.parametrize("extra", [0, 2])
def test_every_limit_gives_the_same_loss_and_gradients(limit, extra):
    args = problem(extra)
    expected = loss_and_grads(*args)
    result = loss_and_grads(*args, max_lattice_cells=limit)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


def test_direct_loss_matches_the_reference():
    joint, enc, t_lens, pred, targets, u_lens = problem()
    logits = joint(enc.unsqueeze(2), pred.unsqueeze(1)).double()
    expected = rnnt_loss_reference(logits, targets, t_lens, u_lens).float()
    for limit in (None, 300):
        losses = transducer_loss(joint, enc, t_lens, pred, targets, u_lens, 0, limit)
        torch.testing.assert_close(losses, expected)


def test_float64_and_another_blank():
    joint, enc, t_lens, pred, targets, u_lens = problem()
    joint, enc, pred = joint.double(), enc.detach().double(), pred.detach().double()
    args = (joint, enc.requires_grad_(), t_lens, pred.requires_grad_(), targets - 1, u_lens)
    expected = loss_and_grads(*args, blank_id=VOCAB - 1)
    result = loss_and_grads(*args, blank_id=VOCAB - 1, max_lattice_cells=200)
    assert result[0].dtype == expected[0].dtype == torch.float64
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_bfloat16_autocast():
    args = problem()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = loss_and_grads(*args)
        result = loss_and_grads(*args, max_lattice_cells=200)
    assert result[0].dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("limit", [5 * VOCAB, 300, 1000])
def test_no_slice_of_logits_exceeds_the_limit(limit):
    args = problem()
    sizes = []
    args[0].register_forward_hook(lambda *call: sizes.append(call[2].numel()))
    loss_and_grads(*args, max_lattice_cells=limit)
    assert max(sizes) <= limit
    useful = sum(t * (u + 1) * VOCAB for t, u in zip(T_LENS, U_LENS, strict=True))
    computed = (sum(sizes) - VOCAB) / 2  # one cell to learn V; forward and recomputation
    assert useful <= computed <= CELLS


def test_one_slice_of_logits_is_alive_at_a_time():
    args = problem()
    alive, peak = set(), 0

    def watch(module, inputs, output):
        nonlocal peak
        key = len(alive) + 1000 * peak
        alive.add(key)
        weakref.finalize(output.untyped_storage(), alive.discard, key)
        peak = max(peak, len(alive))

    args[0].register_forward_hook(watch)
    losses = transducer_loss(*args)
    assert len(alive) == 1, "the direct way keeps its logits: the watch works"
    del losses
    assert not alive
    losses = transducer_loss(*args, max_lattice_cells=300)
    assert not alive, "logits survive forward"
    losses.sum().backward()
    assert peak == 1


def test_dropout_in_the_joint_network_is_replayed():
    args = problem()
    joint = _DropoutJoint(args[0])
    grads = []
    for _ in range(2):
        torch.manual_seed(3)
        losses = transducer_loss(joint, *args[1:], max_lattice_cells=300)
        step = 1e-3
        (grad,) = torch.autograd.grad(losses.sum(), joint.joint.lin_out.bias)
        grads.append(grad)
        with torch.no_grad():
            joint.joint.lin_out.bias += step * grad
            torch.manual_seed(3)
            moved = transducer_loss(joint, *args[1:], max_lattice_cells=300)
            joint.joint.lin_out.bias -= step * grad
        rise = float((moved - losses.detach()).sum()) / step
        assert rise == pytest.approx(float(grad @ grad), rel=0.02)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


class _DropoutJoint(torch.nn.Module):
    def __init__(self, joint):
        super().__init__()
        self.joint = joint

    def forward(self, enc, pred):
        return self.joint(enc, torch.nn.functional.dropout(pred.expand(-1, enc.shape[1], -1, -1)))


def test_no_grad():
    args = problem()
    expected = transducer_loss(*args).detach()
    with torch.no_grad():
        losses = transducer_loss(*args, max_lattice_cells=300)
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize("limit", [1, 10, 30, 45, 1000])
def test_groups_hold_every_utterance_once_within_the_limit(limit):
    groups = plan_groups(T_LENS, U_LENS, limit)
    assert sorted(row for group in groups for row in group) == list(range(5))
    for group in groups:
        cells = len(group) * max(T_LENS[b] for b in group) * (max(U_LENS[b] for b in group) + 1)
        assert cells <= limit or len(group) == 1


def test_bad_input_is_named():
    joint, enc, t_lens, pred, targets, u_lens = problem()
    with pytest.raises(ConfigError, match="max_lattice_cells must be positive"):
        transducer_loss(joint, enc, t_lens, pred, targets, u_lens, 0, 0)
    with pytest.raises(DataError, match=r"enc \(B, T, D\)"):
        transducer_loss(joint, enc[:4], t_lens, pred, targets, u_lens)
    for limit in (None, 300):
        with pytest.raises(DataError, match=r"logit_lengths\[0\] = 10 is outside 1..9"):
            transducer_loss(joint, enc, t_lens + 1, pred, targets, u_lens, 0, limit)
        with pytest.raises(DataError, match="targets must be integers"):
            transducer_loss(joint, enc, t_lens, pred, targets[:, 1:], u_lens, 0, limit)
        with pytest.raises(DataError, match=r"targets\[0, 1\] = 0 is blank"):
            wrong = targets.index_fill(1, torch.tensor([1]), 0)
            transducer_loss(joint, enc, t_lens, pred, wrong, u_lens, 0, limit)
