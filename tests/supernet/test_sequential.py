"""Sequential backward: the joint gradient with one graph alive at a time."""

import datetime
import gc
from functools import partial

import pytest
import torch
from torch import nn

from espnet2_supernet.errors import ConfigError
from espnet2_supernet.supernet.sequential import sequential_backward

pytestmark = pytest.mark.usefixtures("one_thread")


class Model(nn.Module):
    """A body read by all passes, a predictor outside them, one layer for each pass."""

    def __init__(self, n_passes=3, dim=6, depth=3, dropout=0.0, sequential=True):
        super().__init__()
        layers = [nn.Sequential(nn.Linear(dim, dim), nn.GELU()) for _ in range(depth)]
        self.body = nn.Sequential(*layers, nn.Dropout(dropout))
        self.predictor = nn.Linear(dim, dim)
        self.own = nn.ModuleList(nn.Linear(dim, 1) for _ in range(n_passes))
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.ones(dim), requires_grad=False)
        self.sequential = sequential

    def one_pass(self, i, x, predicted):
        hidden = self.body(x * self.frozen) + predicted
        return (i + 1) * self.own[i](hidden).square().mean()

    def forward(self, x):
        shared = (x, self.predictor(x))
        passes = [partial(self.one_pass, i) for i in range(len(self.own))]
        if self.sequential:
            return sequential_backward(passes, shared, self.parameters())
        return torch.stack([one(*shared) for one in passes]).sum()


def gradients(sequential, dropout=0.0, scale=1.0, accumulate=1, autocast=False):
    torch.manual_seed(0)
    model = Model(dropout=dropout, sequential=sequential)
    x = torch.randn(4, 6, requires_grad=True)
    torch.manual_seed(1)
    for _ in range(accumulate):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = model(x)
        (scale * loss).backward()
    return loss.detach(), x.grad, {k: p.grad for k, p in model.named_parameters()}


@pytest.mark.parametrize(
    "options",
    [{}, {"dropout": 0.4}, {"scale": 0.25}, {"accumulate": 2}, {"autocast": True, "dropout": 0.4}],
)
def test_gradients_equal_the_joint_graph(options):
    loss, x_grad, grads = gradients(True, **options)
    expected_loss, expected_x_grad, expected = gradients(False, **options)
    # bfloat16: the joint graph adds the passes' gradients in bfloat16, we in float32
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if "autocast" in options else {}
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(x_grad, expected_x_grad, **tolerance)
    assert grads.keys() == expected.keys()
    for key, grad in grads.items():
        if expected[key] is None:
            assert grad is None, key
        else:
            torch.testing.assert_close(grad, expected[key], **tolerance)
    assert grads["unused.weight"] is None and grads["frozen"] is None


def test_aliased_and_expanded_gradients_are_added_up():
    # d/da and d/db of (a + b).sum() are one expanded tensor inside autograd.
    a, b = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    loss = sequential_backward([lambda: (a + b).sum()] * 3, (), [a, b])
    (2 * loss).backward()
    assert a.grad.tolist() == b.grad.tolist() == [6.0] * 3


def test_each_pass_runs_once_in_order_on_detached_inputs():
    seen = []
    x = torch.ones(2, requires_grad=True)
    lengths = torch.tensor([1, 2])

    def one(name, shared, lengths):
        seen.append((name, shared.is_leaf, shared.requires_grad, lengths.tolist()))
        return shared.sum()

    sequential_backward([partial(one, "a"), partial(one, "b")], (2 * x, lengths), []).backward()
    assert seen == [("a", True, True, [1, 2]), ("b", True, True, [1, 2])]
    assert x.grad.tolist() == [4.0, 4.0]


def test_passes_without_any_gradient():
    w = nn.Parameter(torch.ones(()))
    sequential_backward([lambda: torch.ones(()), lambda: 3 * w], (), [w]).backward()
    assert w.grad == 3
    assert not sequential_backward([lambda: torch.ones(())], (), []).requires_grad


def test_no_grad_just_runs_the_passes():
    torch.manual_seed(0)
    model = Model()
    x = torch.randn(4, 6)
    with torch.no_grad():
        loss = model(x)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, model(x).detach())


def test_nested_checkpoint():
    w = nn.Parameter(torch.full((3,), 0.5))
    one = partial(torch.utils.checkpoint.checkpoint, lambda x: (x * w).tanh().sum())
    x = torch.ones(3, requires_grad=True)
    sequential_backward([partial(one, use_reentrant=False)] * 2, (x,), [w]).backward()
    expected = 2 * (1 - torch.tensor(0.5).tanh() ** 2)
    torch.testing.assert_close(w.grad, expected.expand(3))
    torch.testing.assert_close(x.grad, 0.5 * expected.expand(3))


def peak_saved_bytes(sequential):
    """Most bytes of activations held for backward at any time of a step."""
    torch.manual_seed(0)
    model = Model(n_passes=4, depth=6, sequential=sequential)
    x = torch.randn(2000, 6)
    live = peak = 0

    class Saved:
        def __init__(self, tensor):
            nonlocal live, peak
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            live += self.size
            peak = max(peak, live)

        def __del__(self):
            nonlocal live
            live -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        model(x).backward()
    gc.collect()
    assert live == 0
    return peak


def test_one_graph_alive_at_a_time():
    assert peak_saved_bytes(sequential=True) < 0.35 * peak_saved_bytes(sequential=False)


def test_float16_autocast_is_refused():
    with torch.autocast("cpu", dtype=torch.float16):
        with pytest.raises(ConfigError, match="bfloat16"):
            Model()(torch.randn(2, 6))
        with torch.no_grad():
            Model()(torch.randn(2, 6))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="at least one pass"):
        sequential_backward([], (), [])
    w = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"scalar, got shape \(2,\)"):
        sequential_backward([lambda: w], (), [w])
    loss = sequential_backward([lambda: w.sum()], (), [w])
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def _ddp_worker(rank, port_file, out):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(port_file, 2)
    timeout = datetime.timedelta(seconds=60)
    torch.distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=2, timeout=timeout
    )
    data = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(5))
    results = []
    for sequential in (True, False):
        torch.manual_seed(0)
        model = Model(sequential=sequential)
        # the joint graph never touches `unused`: DDP must be told; ours needs no telling
        ddp = nn.parallel.DistributedDataParallel(model, find_unused_parameters=not sequential)
        for _ in range(2):  # the second step fails if the first left the reducer waiting
            ddp.zero_grad()
            ddp(data[rank]).backward()
        results.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    torch.save(results, f"{out}.{rank}")
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel(tmp_path):
    out = tmp_path / "grads"
    args = (str(tmp_path / "store"), str(out))
    torch.multiprocessing.spawn(_ddp_worker, args, nprocs=2)
    sequential, joint = torch.load(f"{out}.0")
    other, _ = torch.load(f"{out}.1")
    torch.testing.assert_close(sequential, other, rtol=0, atol=0)
    for key, grad in joint.items():
        torch.testing.assert_close(sequential[key], grad)
    assert set(sequential) >= {"body.0.0.weight", "predictor.weight", "own.2.bias"}
