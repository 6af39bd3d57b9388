"""Threads that compute one chunk together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


class Team:
    """Runs a kernel in several threads at once, which wait for each other on the way.

    The threads are its own: a pool that others use, too, might start only some of them, and those
    would wait for ever.

    Args:
        size: Threads, the caller's among them.

    Raises:
        ValueError: If there is no thread.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"num_threads must be at least 1, got {size}")
        self.size = size
        self._sync = np.zeros(1, np.int64)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def run(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Call ``kernel(part, size, sync, *arguments)`` in every thread and wait for all."""
        with self._lock:
            self._sync[0] = 0
            if self.size == 1:
                kernel(0, 1, self._sync, *arguments)
                return
            jobs = [
                self._threads().submit(kernel, part, self.size, self._sync, *arguments)
                for part in range(1, self.size)
            ]
            kernel(0, self.size, self._sync, *arguments)
            for job in jobs:
                job.result()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # threads do not survive a fork
            self._process = os.getpid()
            self._pool = ThreadPoolExecutor(self.size - 1, thread_name_prefix="chunk")
        return self._pool
