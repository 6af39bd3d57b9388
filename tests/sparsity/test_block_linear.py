import copy
import pickle

import pytest
import torch

from espnet2_supernet.sparsity import block_linear
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import Block

pytestmark = pytest.mark.skipif(
    block_linear._products() is None, reason="no AVX2, so the dense product is used"
)


@pytest.fixture(autouse=True)
def _kernels():
    block_linear.use_block_kernels(True)
    yield
    block_linear.use_block_kernels(False)


def sparse_layer(ins=48, outs=32, density=0.3, pattern=None, bias=True):
    torch.manual_seed(0)
    layer = MaskedLinear(ins, outs, bias=bias)
    layer.add_mask("device", pattern or Block(16, 1))
    keep = torch.rand(-(-outs // 16), ins) < density
    layer.mask("device").copy_(keep.repeat_interleave(16, 0)[:outs])
    layer.active_mask = "device"
    return layer


def uses_kernels(layer, x):
    return "BlockLinear" in type(layer(x).grad_fn).__name__


def step(layer, x, grad):
    layer.zero_grad()
    x = x.detach().requires_grad_()
    out = layer(x)
    out.backward(grad)
    grads = [one.grad for one in (x, *layer.parameters())]
    return [out.detach(), *grads]


def both(layer, x, grad):
    fast = step(layer, x, grad)
    block_linear.use_block_kernels(False)
    return fast, step(layer, x, grad)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64,), (3, 50), (2, 3, 40)])
def test_output_and_gradients_equal_the_dense_product(shape, bias):
    layer = sparse_layer(bias=bias)
    x, grad = torch.randn(*shape, 48), torch.randn(*shape, 32)
    assert uses_kernels(layer, x)
    for fast, dense in zip(*both(layer, x, grad), strict=True):
        torch.testing.assert_close(fast, dense, rtol=1e-5, atol=1e-5)


def test_strided_inputs_and_gradients():
    layer = sparse_layer()
    x, grad = torch.randn(48, 5, 40).permute(2, 1, 0), torch.ones(1, 1, 1).expand(40, 5, 32)
    assert uses_kernels(layer, x)
    for fast, dense in zip(*both(layer, x, grad), strict=True):
        torch.testing.assert_close(fast, dense, rtol=1e-5, atol=1e-5)


def test_the_same_bits_in_every_run_and_with_two_threads():
    layer, x, grad = sparse_layer(80, 96), torch.randn(333, 80), torch.randn(333, 96)
    once, threads = step(layer, x, grad), torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            again = step(layer, x, grad)
            assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_only_wanted_gradients_are_given():
    layer, x = sparse_layer(), torch.randn(64, 48)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None and torch.equal(layer.bias.grad, torch.full((32,), 64.0))
    with torch.no_grad():
        assert not layer(x).requires_grad


def test_a_changed_mask_is_noticed():
    layer, x, grad = sparse_layer(), torch.randn(64, 48), torch.randn(64, 32)
    step(layer, x, grad)
    layer.mask("device").copy_(layer.mask("device").roll(7, 1))
    moved = both(layer, x, grad)
    block_linear.use_block_kernels(True)
    state = layer.state_dict()
    state["mask_device"] = layer.mask("device").roll(5, 1)
    layer.load_state_dict(state)
    for fast, dense in (*zip(*moved, strict=True), *zip(*both(layer, x, grad), strict=True)):
        torch.testing.assert_close(fast, dense, rtol=1e-5, atol=1e-5)


def test_an_index_is_made_once_per_mask(monkeypatch):
    built = []
    monkeypatch.setattr(block_linear, "_build", lambda mask: built.append(mask))
    layer = sparse_layer()
    for _ in range(3):
        layer(torch.randn(64, 48))
    assert len(built) == 1
    layer.mask("device")[:, 0] = True
    layer(torch.randn(64, 48))
    assert len(built) == 2


def test_copies_and_pickles_work_on():
    layer, x = sparse_layer(), torch.randn(64, 48)
    wanted = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), wanted) and uses_kernels(other, x)


def test_another_default_type_does_not_matter():
    layer, x, grad = sparse_layer(), torch.randn(64, 48), torch.randn(64, 32)
    torch.set_default_dtype(torch.float64)
    try:
        assert all(one.dtype == torch.float32 for one in step(layer, x, grad))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_gradient_of_the_gradient():
    layer, x = sparse_layer(), torch.randn(64, 48, requires_grad=True)

    def penalty():
        (by_x,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad(by_x.pow(2).sum(), [x, layer.weight])

    fast = penalty()
    block_linear.use_block_kernels(False)
    for one, other in zip(fast, penalty(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_weight_changed_between_the_passes_is_an_error():
    layer = sparse_layer()
    loss = layer(torch.randn(64, 48)).sum()
    with torch.no_grad():
        layer.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "changes",
    [
        {"outs": 40},  # a ragged block
        {"ins": 40},
        {"density": 1.1},
        {"density": block_linear.MAX_DENSITY + 0.2},
        {"pattern": Block(8, 1)},
    ],
)
def test_dense_where_shape_or_mask_does_not_fit(changes):
    layer = sparse_layer(**changes)
    x, grad = torch.randn(64, layer.in_features), torch.randn(64, layer.out_features)
    assert not uses_kernels(layer, x)
    for one, other in zip(*both(layer, x, grad), strict=True):
        assert torch.equal(one, other)


def test_dense_where_blocks_are_torn():
    layer = sparse_layer()
    layer.mask("device")[3, 3] ^= True
    assert not uses_kernels(layer, torch.randn(64, 48))


def test_dense_where_kernels_do_not_apply(monkeypatch):
    layer, x = sparse_layer(), torch.randn(64, 48)
    assert uses_kernels(layer, x)
    assert not uses_kernels(layer, x[:3])
    assert not uses_kernels(copy.deepcopy(layer).double(), x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not uses_kernels(layer, x)
    layer.active_mask = None
    assert not uses_kernels(layer, x)
    layer.active_mask = "device"
    block_linear.use_block_kernels(False)
    assert not uses_kernels(layer, x)
    block_linear.use_block_kernels(True)
    monkeypatch.setattr(block_linear, "_products", lambda: None)  # no numba, or an old CPU
    assert not uses_kernels(layer, x)


def test_an_exported_layer_holds_the_dense_product():
    layer, x = sparse_layer(), torch.randn(64, 48)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x), rtol=1e-5, atol=1e-5)
    assert uses_kernels(layer, x)


def test_function_transforms_use_the_dense_product():
    layer, x = sparse_layer(), torch.randn(2, 64, 48)
    with torch.no_grad():
        each = torch.func.vmap(layer)(x)
        torch.testing.assert_close(each, layer(x), rtol=1e-5, atol=1e-5)
