"""What dropped frames save in a bundle: two rows of one random model, chunk by chunk in turns.

    python tests/benchmarks/bench_dropped_bundle.py --keep 0.5 --chunk_sizes 16 32 64

A conformer of 6 blocks of 144 under a random block mask, once with all frames and once with a
token-keep rule: ``downsample`` keeps every second frame, ``random`` a fraction by chance, ``salad``
the same fraction by a random detector, whose own time then counts. Printed are means over the
middle half of the chunks (the work of a chunk depends on what is kept of it, and others who use the
machine make some slow): CPU time from samples to tokens, that of the encoder (subsampling and rule
included) alone, and how many times faster the row with the rule is.

A chunk takes whole panels of 16 frames, and reads all weights once however few it has: chunks of
more than 16 frames gain most.
"""

import argparse

import numpy as np
import torch

from espnet2_supernet.compat import quiet

quiet()

from espnet2.asr.ctc import CTC  # noqa: E402

from espnet2_supernet.asr.model import SupernetASRModel  # noqa: E402
from espnet2_supernet.encoder import SupernetConformerEncoder  # noqa: E402
from espnet2_supernet.features.log_mel import LogMelFrontend  # noqa: E402
from espnet2_supernet.measure.clock import StageClock, Timed  # noqa: E402
from espnet2_supernet.runtime.recognizer import Recognizer  # noqa: E402
from espnet2_supernet.sparsity.linear import MaskedLinear  # noqa: E402
from espnet2_supernet.tasks.bundling import Origin, make_bundle  # noqa: E402

BLOCKS = {"fp32": (16, 1), "int8": (8, 4)}


def random_model(args, chunk, precision):
    """A model with a row of all frames, and one with a rule and the same mask."""
    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(
        80, args.size, 4, 4 * args.size, args.blocks, cnn_module_kernel=15
    )
    tokens = ["<blank>", "<unk>", *(f"▁{i}" for i in range(97)), "<sos/eos>"]
    context = {"chunk_size": chunk, "left_context": args.left_context}
    mask = {"pattern": {"block": list(BLOCKS[precision])}, "sparsity": args.sparsity}
    rule = {"kind": args.rule} | ({"keep_ratio": args.keep} if args.rule == "random" else {})
    rule |= {name: getattr(args, name) for name in ("before_block", "restore_before_block")}
    subnets = {
        "all": {"context": context, "mask": mask},
        "dropping": {"context": context, "mask": "all", "tokens": rule},
    }
    model = SupernetASRModel(
        len(tokens), tokens, LogMelFrontend(), None, None, None, encoder, None, None,
        CTC(len(tokens), args.size), None, {"subnets": subnets}, 1.0,
    ).eval()  # fmt: skip
    for layer in model.encoder.modules():
        if isinstance(layer, MaskedLinear) and "all" in layer.patterns:
            mask, (rows, columns) = layer.mask("all"), BLOCKS[precision]
            keep = torch.rand(mask.size(0) // rows, mask.size(1) // columns) >= args.sparsity
            mask.copy_(keep.repeat_interleave(rows, 0).repeat_interleave(columns, 1))
    return model


@torch.no_grad()
def choose_threshold(model, wave, keep):
    """Let a random detector keep a fraction of the frames of a sound."""
    feats, lengths = model.frontend(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
    scores, _ = model.detector(model.encoder.subsampled(feats, lengths)[0])
    model.detector.threshold.fill_(float(scores.quantile(1 - keep).sigmoid()))


class Row:
    """A bundle whose chunks are timed."""

    def __init__(self, bundle, threads):
        self.recognizer, self.clock = Recognizer(bundle, num_threads=threads), StageClock()
        self.recognizer.warm_up()
        self.recognizer.encoder = Timed(self.recognizer.encoder, self.clock, "encoder", ("stream",))
        self.whole, self.encoder, self.kept, self.frames = [], [], 0, 0

    def start(self):
        """Begin an utterance."""
        self.session = self.recognizer.stream(self._count)

    def accept(self, piece):
        """Take a piece and note what it took."""
        _, times = self.clock.measure(lambda: self.session.accept(piece))
        self.whole.append(times.cpu)
        self.encoder.append(times.stage_cpu.get("encoder", 0.0))

    def finish(self):
        """End an utterance."""
        self.session.finish()
        self.frames += self.session.num_frames

    def _count(self, frames):
        self.kept += len(frames)


def measure(rows, waves, size):
    """Give every row every piece, one after the other."""
    for wave in waves:
        for row in rows:
            row.start()
        for start in range(0, len(wave), size):
            for row in rows:
                row.accept(wave[start : start + size])
        for row in rows:
            row.finish()


def main():
    """Measure every chunk size and precision, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", default="random", choices=("random", "downsample", "salad"))
    parser.add_argument("--keep", type=float, default=0.5, help="of the frames; not of downsample")
    parser.add_argument("--before_block", type=int, default=1)
    parser.add_argument("--restore_before_block", type=int, help="never, if not given")
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--chunk_sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--left_context", type=int, default=32)
    parser.add_argument("--precisions", nargs="+", default=list(BLOCKS), choices=list(BLOCKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    count = int(16000 * args.seconds)
    loud = np.repeat(rng.uniform(0.0, 0.3, (args.utterances, count // 800)), 800, axis=1)
    waves = (loud * rng.standard_normal(loud.shape)).astype(np.float32)
    print("chunk  precision  outs   ms/chunk all  dropping  ratio   encoder all  dropping  ratio")
    for chunk in args.chunk_sizes:
        for precision in args.precisions:
            model = random_model(args, chunk, precision)
            if model.detector is not None:
                choose_threshold(model, waves[0], args.keep)
            bundles = [
                make_bundle(model, name, None, precision, None, Origin("", ""), True)
                for name in ("all", "dropping")
            ]
            rows = [Row(bundle, args.threads) for bundle in bundles]
            measure(rows, waves, chunk * 640)
            report(chunk, precision, *rows)


def middle(times):
    """Mean of the middle half."""
    times = np.sort(times)
    return float(times[len(times) // 4 : -(len(times) // 4)].mean())


def report(chunk, precision, full, dropping):
    """Print one line."""
    line = f"{chunk:5d}  {precision:9s}  {dropping.kept / dropping.frames:.2f} "
    for name in ("whole", "encoder"):
        means = [middle(getattr(row, name)) for row in (full, dropping)]
        line += f" {means[0]:13.3f} {means[1]:9.3f} {means[0] / means[1]:6.2f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
