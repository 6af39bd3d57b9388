"""Spread a kernel that releases the GIL over plain Python threads.

numba's own ``prange`` would start a second pool of threads beside torch's, and some of its
back ends abort in a forked process.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def spread(
    kernel: Callable[..., None], size: int, step: int, threads: int, *arguments: Any
) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ``range(size)``.

    Args:
        kernel: Works on a part of the range; parts must be independent.
        size: End of the range.
        step: Parts start at multiples of it.
        threads: Parts at most.
        *arguments: Handed on.
    """
    steps = -(-size // step)
    parts = max(1, min(threads, steps))
    bounds = [min(size, steps * i // parts * step) for i in range(parts + 1)]
    if parts == 1:
        kernel(0, size, *arguments)
        return
    pool = _pool(os.getpid(), threads)  # threads do not survive a fork
    ranges = zip(bounds, bounds[1:], strict=False)
    jobs = [pool.submit(kernel, start, stop, *arguments) for start, stop in ranges]
    for job in jobs:
        job.result()


@functools.lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="block_products")
