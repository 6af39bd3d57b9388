"""What dropped frames save: CPU time of one encoder with and without, whole and in a stream.

    python tests/benchmarks/bench_dropping.py --seconds 10 --keep_ratio 0.6
    python tests/benchmarks/bench_dropping.py --before_block 3 --restore_before_block 6

The encoder of egs/an4 on one thread, or a wider one; frames are dropped by chance, so that no
training is needed, and the detector is timed by itself. CPU time and not wall clock: other jobs do
not count.
"""

from __future__ import annotations

import argparse
import time

import torch

from espnet2_supernet.damon.detector import SaladDetector
from espnet2_supernet.damon.rules import Random
from espnet2_supernet.encoder import SupernetConformerEncoder
from espnet2_supernet.supernet.context import Context
from espnet2_supernet.supernet.tokens import TokenSpec

CHUNKS = Context(chunk_size=16, left_context=32)


def cpu_ms(function, repeats: int) -> float:
    """Least CPU time of a call in ms."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return 1000.0 * best


def stream(encoder, feats, keeper) -> None:
    """Encode in pieces of 100 ms."""
    state = encoder.init_state(CHUNKS, keeper=keeper)
    for piece in feats.split(10, dim=1):
        _, state = encoder.stream(piece, state)
    encoder.stream(feats[:, :0], state, is_final=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--keep_ratio", type=float, default=0.6)
    parser.add_argument("--before_block", type=int, default=1, help="of 6")
    parser.add_argument("--restore_before_block", type=int, help="of 6; never, if not given")
    parser.add_argument("--size", type=int, default=144, help="model dimension, a multiple of 8")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(80, args.size, 4, 4 * args.size, 6, cnn_module_kernel=15)
    encoder.eval()
    feats = torch.randn(1, int(100 * args.seconds), 80)
    blocks = {name: getattr(args, name) for name in ("before_block", "restore_before_block")}
    keeper = Random(TokenSpec("random", keep_ratio=args.keep_ratio, **blocks))
    with torch.no_grad():
        frames, lengths = encoder.subsampled(feats, torch.tensor([feats.size(1)]))
        keep = keeper.choose(frames, feats, lengths)
        detector = SaladDetector(args.size)
        rows = {
            "features to frames": lambda: encoder.subsampled(feats, lengths * 4),
            "detector": lambda: detector(frames),
            "full context, all frames": lambda: encoder.encode_frames(frames, lengths),
            "full context, dropping": lambda: encoder.encode_frames(
                frames, lengths, None, keep, **blocks
            ),
            "masked chunks, all frames": lambda: encoder.encode_frames(frames, lengths, CHUNKS),
            "masked chunks, dropping": lambda: encoder.encode_frames(
                frames, lengths, CHUNKS, keep, **blocks
            ),
            "stream with frames, all": lambda: stream(encoder, feats, None),
            "stream with frames, dropping": lambda: stream(encoder, feats, keeper),
        }
        print(f"{args.seconds:g} s of speech, {float(keep.float().mean()):.2f} of frames kept")
        for name, function in rows.items():
            print(f"{name:30s} {cpu_ms(function, args.repeats):8.1f} ms")


if __name__ == "__main__":
    main()
