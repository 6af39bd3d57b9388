"""Products of block-sparse training against dense ones, on one CPU thread.

    python tests/benchmarks/bench_sparse_training.py --rows 1200 --density 0.3

For every shape (out x in) the forward product and the two gradients are computed for random masks
of 16x1 blocks: by the kernels (weights packed anew, and the gradient of the bias), and by torch on
a weight masked before, with torch's default matrix product and with oneDNN's (what
``--onednn_matmul`` switches on). ``layer`` is forward and backward of ``MaskedLinear`` through
autograd, masking included. All take turns on several layers, so that weights are not in the
nearest cache; medians of CPU time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from espnet2_supernet.runtime.training import block_products
from espnet2_supernet.sparsity.block_linear import use_block_kernels
from espnet2_supernet.sparsity.linear import MaskedLinear
from espnet2_supernet.sparsity.pattern import Block

SHAPES = "576x144,144x576,144x144,288x144,2048x512,512x2048,512x512"
LAYERS = 4


class Layer:
    """A layer with a random mask, and its products; all take no argument."""

    def __init__(self, rows: int, outs: int, ins: int, density: float) -> None:
        keep = torch.rand(outs // 16, ins) < density
        self.module = MaskedLinear(ins, outs)
        self.module.add_mask("device", Block(16, 1))
        self.module.mask("device").copy_(keep.repeat_interleave(16, 0))
        self.module.active_mask = "device"
        self.index = block_products.BlockIndex.build(keep.numpy())
        self.weight, self.bias = self.module.weight.detach(), self.module.bias.detach()
        self.masked = self.module.effective_weight().detach()
        self.x, self.grad = torch.randn(rows, ins), torch.randn(rows, outs)
        self.packed = block_products.pack(self.index, self.weight.numpy())
        self.input = self.x.clone().requires_grad_()
        self.kept: torch.Tensor | None = None  # a result lives until the next one, as in training

    def forward(self) -> None:
        packed = block_products.pack(self.index, self.weight.numpy())
        out = torch.empty(len(self.x), self.index.outs)
        block_products.forward(self.index, packed, self.x.numpy(), self.bias.numpy(), out.numpy())
        self.kept = out

    def input_gradient(self) -> None:
        out = torch.empty_like(self.x)
        block_products.input_gradient(self.index, self.packed, self.grad.numpy(), out.numpy())
        self.kept = out

    def weight_gradient(self) -> None:
        out, bias = torch.empty_like(self.weight), torch.empty_like(self.bias)
        block_products.weight_gradient(
            self.index, self.x.numpy(), self.grad.numpy(), out.numpy(), bias.numpy()
        )
        self.kept = out

    def dense_forward(self) -> None:
        self.kept = F.linear(self.x, self.masked, self.bias)

    def dense_input_gradient(self) -> None:
        self.kept = self.grad @ self.masked

    def dense_weight_gradient(self) -> None:
        self.kept = self.grad.t() @ self.x
        self.grad.sum(0)

    def autograd(self) -> None:
        self.kept = self.module(self.input)
        self.kept.backward(self.grad)
        self.input.grad = None
        self.module.zero_grad()


PRODUCTS = ("forward", "input_gradient", "weight_gradient")


def _with(onednn: bool, kernels: bool, method: Callable[[Layer], None]) -> Callable[[Layer], None]:
    def call(layer: Layer) -> None:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if onednn else "ieee"
        use_block_kernels(kernels)
        method(layer)

    return call


def cases() -> dict[str, Callable[[Layer], None]]:
    """What is measured, by name."""
    found = {}
    for name in PRODUCTS:
        found[name] = _with(True, True, getattr(Layer, name))
        found[f"onednn_{name}"] = _with(True, False, getattr(Layer, f"dense_{name}"))
        found[f"default_{name}"] = _with(False, False, getattr(Layer, f"dense_{name}"))
    found["layer"] = _with(True, True, Layer.autograd)
    found["onednn_layer"] = _with(True, False, Layer.autograd)
    found["default_layer"] = _with(False, False, Layer.autograd)
    return found


def measure(layers: list[Layer], rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of every case."""
    times: dict[str, list[float]] = {name: [] for name in cases()}
    for turn in range(rounds + 1):
        for name, case in cases().items():
            for layer in layers:
                start = time.process_time()
                case(layer)
                if turn:  # the first is a warm-up
                    times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 3000, 6000])
    parser.add_argument("--shapes", default=SHAPES, help="outputs x inputs, comma-separated")
    parser.add_argument("--density", type=float, nargs="+", default=[0.3])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"1 thread, {platform.machine()}, torch {torch.__version__}; kernels in ms, then")
    print("times as fast as oneDNN / as torch's default")
    print(f"{'rows':>5} {'out x in':>9} density " + "".join(f"{n:>25}" for n in PRODUCTS), end="")
    print(f"{'sum':>14}{'layer':>14}")
    for rows in args.rows:
        for shape in args.shapes.split(","):
            outs, ins = map(int, shape.split("x"))
            for density in args.density:
                layers = [Layer(rows, outs, ins, density) for _ in range(LAYERS)]
                found = measure(layers, args.rounds)
                print(f"{rows:5} {shape:>9} {density:7.2f} ", end="")
                for name in PRODUCTS:
                    print(f"{found[name] * 1e3:11.2f} {_ratios(found, [name]):>13}", end="")
                print(f"{_ratios(found, PRODUCTS):>14}{_ratios(found, ['layer']):>14}", flush=True)


def _ratios(found: dict[str, float], names: list[str] | tuple[str, ...]) -> str:
    def total(prefix: str) -> float:
        return sum(found[prefix + name] for name in names)

    return f"{total('onednn_') / total(''):.2f} / {total('default_') / total(''):.2f}"


if __name__ == "__main__":
    main()
