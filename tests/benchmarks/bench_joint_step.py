"""Cost of a joint training step: two subnets against one, masks against none.

    python tests/benchmarks/bench_joint_step.py --config conf/train_small.yaml --threads 2
    python tests/benchmarks/bench_joint_step.py --config conf/train_ssl_small.yaml --task ssl

Models of the same size take steps (features, forward, backward, clipping, optimiser) on the
same batch, in turns in one process, after a warm-up; the medians of the paired ratios are printed:

    joint / dense    two subnets (the table of the configuration) against full context alone
    masks            the same two contexts with and without masks
    kernels / dense  the first again, the sparse pass by block-sparse kernels

CPU seconds of the process are used beside wall seconds, since other load disturbs them less.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from espnet2_supernet.compat import quiet

quiet()

from espnet2_supernet.sparsity.block_linear import use_block_kernels  # noqa: E402
from espnet2_supernet.tasks.asr import SupernetASRTask  # noqa: E402
from espnet2_supernet.tasks.ssl import SupernetSSLTask  # noqa: E402

TASKS = {"asr": SupernetASRTask, "ssl": SupernetSSLTask}


def build(conf: dict, task: str, vocab_size: int) -> Callable[[dict[str, torch.Tensor]], None]:
    """A training step of a model of this configuration."""
    tokens = ["<blank>", "<unk>", *map(str, range(vocab_size - 3)), "<sos/eos>"]
    more = {"token_list": tokens, "normalize": None}
    args = argparse.Namespace(**TASKS[task].get_default_config() | conf | more)
    torch.manual_seed(0)
    model = TASKS[task].build_model(args).train()
    for module in model.encoder.modules():  # masks as pruning would leave them: a random pattern
        for name in getattr(module, "patterns", {}):
            rows = torch.rand(-(-module.out_features // 16), module.in_features) < 0.3
            module.mask(name).copy_(rows.repeat_interleave(16, 0)[: module.out_features])
    optimizer = torch.optim.AdamW(model.parameters())

    def step(batch: dict[str, torch.Tensor]) -> None:
        loss, _, _ = model(**batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def variants(conf: dict) -> dict[str, dict]:
    """The configuration as it is, without masks, and with the full-context subnet alone."""
    unmasked, dense = copy.deepcopy(conf), copy.deepcopy(conf)
    for row in unmasked["supernet_conf"]["subnets"].values():
        row.pop("mask", None)
    full = {k: v for k, v in conf["supernet_conf"]["subnets"].items() if v["context"] == "full"}
    dense["supernet_conf"] = {"subnets": full}
    return {"joint": conf, "unmasked": unmasked, "dense": dense}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("conf/train_small.yaml"))
    parser.add_argument("--task", choices=sorted(TASKS), default="asr")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the utterances")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--vocab_size", type=int, default=500)
    parser.add_argument("--onednn_matmul", choices=("true", "false"), default="false")
    return parser.parse_args()


def make_batch(args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Noise with random labels, four a second."""
    samples, labels = int(args.seconds * 16000), int(args.seconds * 4)
    return {
        "speech": torch.randn(args.batch_size, samples) * 0.1,
        "speech_lengths": torch.full((args.batch_size,), samples),
        "text": torch.randint(2, args.vocab_size - 1, (args.batch_size, labels)),
        "text_lengths": torch.full((args.batch_size,), labels),
    }


def measure(steps: dict, batch: dict, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU seconds of each step by name, taken in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            use_block_kernels(name == "kernels")
            wall, cpu = time.perf_counter(), time.process_time()
            step(batch)
            if turn:  # the first is a warm-up
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def main() -> None:
    """Measure and print."""
    args = parse()
    torch.set_num_threads(args.threads)
    if args.onednn_matmul == "true":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    conf = yaml.safe_load(args.config.read_text())
    steps = {name: build(one, args.task, args.vocab_size) for name, one in variants(conf).items()}
    steps["kernels"] = steps["joint"]
    times = measure(steps, make_batch(args), args.rounds)
    print(
        f"{args.config}, {args.batch_size} x {args.seconds:g} s, {args.threads} thread(s), ", end=""
    )
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")
    for name, rows in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        speech = args.batch_size * args.seconds
        print(f"{name:9} {wall:7.3f} s wall {cpu:7.3f} s CPU, {speech / cpu:.0f} h speech / CPU h")
    for label, top, bottom in (
        ("joint / dense", "joint", "dense"),
        ("masks", "joint", "unmasked"),
        ("kernels / dense", "kernels", "dense"),
    ):
        pairs = list(zip(times[top], times[bottom], strict=True))
        ratios = [statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1)]
        print(f"{label:15} {ratios[0]:.3f} wall, {ratios[1]:.3f} CPU (medians of paired ratios)")


if __name__ == "__main__":
    main()
