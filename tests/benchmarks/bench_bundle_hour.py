"""Streams an hour and opens ten thousand sessions with a bundle: time and memory must not grow.

    python tests/benchmarks/bench_bundle_hour.py exp/asr/bundle_device --search beam

Prints, per tenth of the stream and per tenth of the sessions, processor time and resident memory.
Exit status 1 if the last tenth needs more than 1.3 times the time of the second one (medians of
chunks, so that other load does not decide), or more than 4 MiB beyond it. The transcript grows by
12 bytes per token; memory that is taken once, by the first tenth, does not count.
"""

import argparse
import os
import statistics
import sys
import time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from espnet2_supernet.runtime.recognizer import Recognizer  # noqa: E402

MAX_TIME, MAX_MIB = 1.3, 4.0


def noise(seconds, fs, seed):
    """Noise whose loudness changes every 100 ms."""
    rng = np.random.default_rng(seed)
    gain = np.repeat(rng.uniform(0.0, 0.3, round(seconds * 10)), fs // 10)
    return (gain * rng.standard_normal(len(gain))).astype(np.float32)


def resident_mib():
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def hour(recognizer, minutes):
    """Yield processor seconds of every chunk, tenth by tenth, of one long stream."""
    session, fs = recognizer.stream(), recognizer.fs
    chunk = round(recognizer.encoder.chunk_size * recognizer.frame_ms * fs / 1000)
    sound = noise(60.0, fs, 0)
    count = max(1, round(minutes * 60 * fs / chunk / 10))
    for tenth in range(10):
        times = []
        for i in range(count):
            start = (tenth * count + i) * 7919 % (len(sound) - chunk)
            before = time.thread_time()
            session.accept(sound[start : start + chunk])
            times.append(time.thread_time() - before)
        yield times
    print(f"{session.num_samples / fs / 60:.1f} minutes, {len(session.finish().token_int)} tokens")


def sessions(recognizer, count):
    """Yield processor seconds of every session of 0.4 s, tenth by tenth; all are dropped."""
    sound = noise(60.0, recognizer.fs, 1)
    size = round(0.4 * recognizer.fs)
    for tenth in range(10):
        times = []
        for i in range(max(1, count // 10)):
            start = (tenth * count + i) * 7919 % (len(sound) - size)
            before = time.thread_time()
            recognizer(sound[start : start + size])
            times.append(time.thread_time() - before)
        yield times


def report(title, tenths):
    """Print a table; return whether time and memory stood still."""
    print(f"{title}\ntenth   median ms   95 % ms   RSS MiB")
    rows = []
    for number, times in enumerate(tenths, 1):
        median, memory = 1000 * statistics.median(times), resident_mib()
        rows.append((median, memory))
        tail = 1000 * float(np.percentile(times, 95))
        print(f"{number:5d}   {median:9.3f}   {tail:7.3f}   {memory:7.1f}", flush=True)
    ratio, grown = rows[-1][0] / rows[1][0], rows[-1][1] - rows[1][1]
    print(f"last against second tenth: time {ratio:.2f}, memory {grown:+.1f} MiB\n")
    return ratio <= MAX_TIME and grown <= MAX_MIB


def main():
    """Run both and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--use", default="auto", choices=("auto", "ctc", "rnnt"))
    parser.add_argument("--search", default="greedy", choices=("greedy", "beam"))
    parser.add_argument("--beam_size", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=10000)
    args = parser.parse_args()
    options = {"search": args.search, "beam_size": args.beam_size, "use": args.use}
    recognizer = Recognizer.load(args.bundle, allow_untrained=True, **options)
    recognizer.warm_up()
    good = report("one stream, per chunk", hour(recognizer, args.minutes))
    good = report("short sessions", sessions(recognizer, args.sessions)) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
