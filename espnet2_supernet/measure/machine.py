"""The machine: its name, one core to run on, what else ran there, and memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_supernet.errors import ConfigError

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_name() -> str:
    """Return the name of the processor, e.g. ``AMD EPYC 9654``."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model\t")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Return the vector instructions that matter for the kernels, as Linux names them."""
    wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next((x for x in lines if x.startswith(("flags", "Features"))), "").split()
    return [name for name in wanted if name in flags]


def quiet_core(seconds: float = 0.3) -> int:
    """Return the core, of those this process may use, that was idle most just now.

    Args:
        seconds: How long to look.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    before = {core: _busy_seconds(core) for core in cores}
    time.sleep(seconds)
    return min(cores, key=lambda core: _busy_seconds(core) - before[core])


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run this thread, and those it starts, on one core inside the ``with`` block.

    Args:
        core: Number of the core; None leaves the choice to the system.

    Raises:
        ConfigError: If this process may not use the core.
    """
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        usable = ", ".join(map(str, sorted(before)))
        raise ConfigError(f"core {core}: this process may use {usable}") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def single_threaded_libraries() -> Iterator[None]:
    """Keep the thread pools of libraries that are loaded (BLAS, OpenMP) at one thread.

    Their idle threads wait in busy loops on other cores, which counts as CPU time of every row.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@dataclass
class ForeignLoad:
    """How busy others kept a core, in shares of its time, one number for each interval.

    Attributes:
        core: The core.
        shares: One entry per call of :meth:`note`.
    """

    core: int | None
    shares: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the first interval."""
        self._mark = self._now()

    def _now(self) -> tuple[float, float, float]:
        busy = 0.0 if self.core is None else _busy_seconds(self.core)
        return time.monotonic(), busy, time.process_time()

    def note(self) -> None:
        """End an interval (a second or more, the kernel counts in hundredths) and start another."""
        now = self._now()
        elapsed, busy, own = (after - before for after, before in zip(now, self._mark, strict=True))
        self._mark = now
        if self.core is not None and elapsed > 0 and busy > 0:
            self.shares.append(round(min(1.0, max(0.0, busy - own) / elapsed), 3))


def _busy_seconds(core: int) -> float:
    """Return the time that a core has worked since the machine started; 0 where Linux is not."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        words = line.split()
        if words[0] == f"cpu{core}":
            # user, nice, system, idle, iowait, irq, softirq, steal
            ticks = [int(word) for word in words[1:9]]
            return (sum(ticks) - ticks[3] - ticks[4]) / _TICKS
    return 0.0


def peak_memory_bytes() -> int:
    """Return the largest resident memory that this process has had.

    Linux hands ``ru_maxrss`` of the parent on to a new process, so the kernel's own high-water
    mark is read where there is one.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
