"""Streams an hour of audio and shows that time and memory per minute do not grow.

    python tests/benchmarks/bench_stream_hour.py --use ctc --search beam
    python tests/benchmarks/bench_stream_hour.py --asr_model_file exp/asr/valid.loss.ave.pth

Without a model file a random one is built (12 conformer blocks of 144). Prints, per tenth of the
stream: real-time factor, resident memory, bytes of the session's state, tokens so far. Exit
status 1 if the state of the last tenth is larger than 1.5 times that of the second one, or its
time more than 1.5 times (medians of one-second steps, so that other load does not decide).
"""

import argparse
import os
import statistics
import sys
import time

import numpy as np
import torch

from espnet2_supernet.compat import quiet

quiet()

from espnet2_supernet.decode.speech2text import Speech2Text  # noqa: E402

TOKENS = ["<blank>", "<unk>", *map(chr, range(65, 91)), "<space>", "<sos/eos>"]
DEVICE = {"context": {"chunk_size": 16, "left_context": 64, "right_context": 0}}


def random_model(rnnt):
    """Build a model that talks without pause."""
    from espnet2.asr.ctc import CTC

    from espnet2_supernet.asr.model import SupernetASRModel
    from espnet2_supernet.encoder import SupernetConformerEncoder
    from espnet2_supernet.features.log_mel import LogMelFrontend

    torch.manual_seed(0)
    encoder = SupernetConformerEncoder(80, 144, 4, 576, num_blocks=12)
    transducer = {"predictor_conf": {"embed_size": 128, "hidden_size": 128}}
    model = SupernetASRModel(
        len(TOKENS), TOKENS, LogMelFrontend(), None, None, None, encoder, None, None,
        CTC(len(TOKENS), 144), None, {"subnets": {"device": DEVICE}}, 0.5 if rnnt else 1.0,
        transducer if rnnt else None,
    )  # fmt: skip
    with torch.no_grad():
        model.ctc.ctc_lo.weight.mul_(8.0)
        if rnnt:
            model.joint_network.lin_out.weight.mul_(6.0)
            model.joint_network.lin_out.bias[0] += 2.0
    return model.eval()


def noise(seconds, fs, seed):
    """Noise whose loudness changes every 100 ms."""
    rng = np.random.default_rng(seed)
    gain = np.repeat(rng.uniform(0.0, 0.3, round(seconds * 10)), fs // 10)
    return (gain * rng.standard_normal(len(gain))).astype(np.float32)


def resident_mib():
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def state_bytes(session):
    """Size of all that a session remembers, the transcript left out."""
    encoder, search = session._encoder_state, session._search_state
    tensors = [encoder.feats, encoder.frames, *encoder.subsampling, session._frontend.rest]
    for block in encoder.blocks:
        tensors += [value for value in vars(block).values() if isinstance(value, torch.Tensor)]
    size = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    if hasattr(search, "beams"):
        links = 0
        for beam in search.beams:
            for link in [beam.node, *beam.alignments()]:
                while link is not None:
                    links, link = links + 1, link.parent
        size += 64 * links
    return size


def main():
    """Stream and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asr_model_file")
    parser.add_argument("--subnet", default="device")
    parser.add_argument("--use", default="ctc", choices=("ctc", "rnnt"))
    parser.add_argument("--search", default="greedy", choices=("greedy", "beam"))
    parser.add_argument("--beam_size", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--piece_ms", type=float, default=100.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = {"search": args.search, "beam_size": args.beam_size, "use": args.use}
    if args.asr_model_file:
        config = os.path.join(os.path.dirname(args.asr_model_file), "config.yaml")
        speech2text = Speech2Text(config, args.asr_model_file, args.subnet, **options)
    else:
        speech2text = Speech2Text.from_model(random_model(args.use == "rnnt"), **options)
    session, fs = speech2text.stream(), speech2text.fs
    size, rows = round(args.piece_ms * fs / 1000), []
    part = max(1, round(args.minutes * 6))  # seconds in a tenth
    print("minute   RTF(median)  RSS MiB  state KiB  tokens")
    for tenth in range(10):
        times = []
        for second in range(part):
            wave = noise(1.0, fs, tenth * part + second)
            start = time.perf_counter()
            for position in range(0, fs, size):
                session.accept(wave[position : position + size])
            times.append(time.perf_counter() - start)
        rows.append((statistics.median(times), state_bytes(session)))
        print(
            f"{(tenth + 1) * part / 60:6.1f}   {rows[-1][0]:11.4f}  {resident_mib():7.1f}"
            f"  {rows[-1][1] / 1024:9.1f}  {len(session.accept(noise(0, fs, 0)).token_int):6d}",
            flush=True,
        )
    start = time.perf_counter()
    session.finish()
    took = 1000 * (time.perf_counter() - start)
    print(f"finish: {took:.1f} ms after {session.num_samples / fs:.0f} s of audio")
    grown = [rows[-1][i] / rows[1][i] for i in (0, 1)]
    print(f"last tenth against the second: time {grown[0]:.2f}, state {grown[1]:.2f}")
    sys.exit(0 if max(grown) <= 1.5 else 1)


if __name__ == "__main__":
    main()
